"""A real object store and a real Envoy under a real supervisor, once for the room's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.objects import Objects
from stacks.outputs import StackOutputs
from tests.stores import apart, up


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    """The store and the gateway of a local stack, without its other parts."""
    with up(tmp_path_factory.mktemp("release-stack"), ("seaweedfs", "envoy")) as outputs:
        yield outputs


@pytest.fixture
def outputs(running: StackOutputs, tmp_path: Path) -> StackOutputs:
    """The running stack with fresh buckets and a state folder of the test's own."""
    return apart(running, tmp_path)


@pytest.fixture
def artifacts(outputs: StackOutputs) -> Objects:
    return Objects(outputs.object_store, outputs.object_store.buckets.artifacts)
