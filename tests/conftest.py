"""What tests share: a real object store, and a whole local stack, each started once a session on free ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.local import stack
from stacks.local.parts import PARTS
from stacks.local.ports import free_base
from stacks.outputs import StackOutputs


@pytest.fixture(scope="session")
def stack_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    """A real SeaweedFS with the stack's buckets; tracking, orchestration and gateway do not answer."""
    yield from _running(tmp_path_factory.mktemp("store"), ("seaweedfs",))


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    """The whole local stack, every part ready."""
    yield from _running(tmp_path_factory.mktemp("stack"), PARTS)


def _running(home: Path, parts: tuple[str, ...]) -> Iterator[StackOutputs]:
    try:
        yield stack.up(home, port_base=free_base(), parts=parts)
    finally:
        stack.down(home)
