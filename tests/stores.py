"""A test's own corner of a real store that many tests share: fresh buckets, and a state folder."""

import uuid
from pathlib import Path

from stacks.local import paths, probes
from stacks.outputs import Buckets, StackOutputs


def apart(outputs: StackOutputs, home: Path) -> StackOutputs:
    """The same stack with empty buckets and `home` as its state folder, where its outputs file lies."""
    tag = uuid.uuid4().hex[:8]
    buckets = Buckets(**{role: f"{role}-{tag}" for role in Buckets.model_fields})
    store = outputs.object_store.model_copy(update={"buckets": buckets})
    own = outputs.model_copy(update={"object_store": store, "state_dir": home})
    assert probes.buckets(own), "the store did not make the buckets"
    home.mkdir(exist_ok=True)
    paths.outputs(home).write_text(own.to_json())
    return own
