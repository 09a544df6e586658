"""What tests share: a real object store, and a whole local stack, each started once a session on free ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.objects import Objects
from stacks.outputs import StackOutputs
from tests.stores import apart, up


@pytest.fixture(scope="session")
def stack_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    """A real SeaweedFS with the stack's buckets; tracking, orchestration and gateway do not answer."""
    with up(tmp_path_factory.mktemp("store"), ("seaweedfs",)) as outputs:
        yield outputs


@pytest.fixture
def outputs(stack_store: StackOutputs, tmp_path: Path) -> StackOutputs:
    """The session's store, in it fresh buckets, and a state folder of the test's own."""
    return apart(stack_store, tmp_path / "home")


@pytest.fixture
def ledger_bucket(outputs: StackOutputs) -> Objects:
    return Objects(outputs.object_store, outputs.object_store.buckets.ledger)


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    """The whole local stack, every part ready."""
    with up(tmp_path_factory.mktemp("stack")) as outputs:
        yield outputs
