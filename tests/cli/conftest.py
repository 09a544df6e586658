"""A stack of the test's own on the session's real store: its buckets, its state folder, its outputs file."""

import uuid
from pathlib import Path

import pytest

from pipelines.release.ledger import Ledger
from stacks.local import paths, probes
from stacks.outputs import Buckets, StackOutputs


@pytest.fixture
def outputs(stack_store: StackOutputs, tmp_path: Path) -> StackOutputs:
    """Empty buckets, and a folder that `--home` may name."""
    tag = uuid.uuid4().hex[:8]
    buckets = Buckets(**{role: f"{role}-{tag}" for role in Buckets.model_fields})
    home = tmp_path / "home"
    home.mkdir()
    store = stack_store.object_store.model_copy(update={"buckets": buckets})
    own = stack_store.model_copy(update={"object_store": store, "state_dir": home})
    assert probes.buckets(own), "the store did not make the buckets"
    paths.outputs(home).write_text(own.to_json())
    return own


@pytest.fixture
def home(outputs: StackOutputs) -> Path:
    assert outputs.state_dir is not None
    return outputs.state_dir


@pytest.fixture
def ledger(outputs: StackOutputs) -> Ledger:
    return Ledger.of(outputs)
