"""Real stacks for tests: brought up on ports that are free, and a test's own corner of a store that many share."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.errors import UserError
from stacks.local import paths, ports, probes, stack
from stacks.local.parts import PARTS
from stacks.outputs import Buckets, StackOutputs

TRIES = 10


@contextmanager
def up(home: Path, parts: tuple[str, ...] = PARTS, *, model: str | None = None) -> Iterator[StackOutputs]:
    """A local stack with these parts. Another test run may take the same free ports in between: then on others."""
    try:
        for attempt in range(TRIES):
            try:
                outputs = stack.up(home, port_base=ports.free_base(), parts=parts, model=model)
                break
            except UserError as error:
                if "is taken" not in error.what or attempt == TRIES - 1:
                    raise
        yield outputs
    finally:
        stack.down(home)


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
