"""Outputs of a real store, free ports, and one serving image for all tests of this room."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.objects import Objects
from pipelines.serving import image
from stacks.outputs import StackOutputs
from tests.stores import apart


@pytest.fixture(scope="session")
def outputs(stack_store: StackOutputs, tmp_path_factory: pytest.TempPathFactory) -> StackOutputs:
    """The session's store, with buckets that no other room's tests read."""
    return apart(stack_store, tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="session")
def outputs_file(outputs: StackOutputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs") / "outputs.json"
    path.write_text(outputs.to_json())
    return path


@pytest.fixture(scope="session")
def artifacts(outputs: StackOutputs) -> Objects:
    return Objects(outputs.object_store, outputs.object_store.buckets.artifacts)


@dataclass(frozen=True)
class Image:
    digest: str
    folder: Path
    python: Path
    build_s: float


@pytest.fixture(scope="session")
def built(artifacts: Objects, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image of this checkout, built and restored once."""
    folder = tmp_path_factory.mktemp("images")
    began = time.process_time()
    digest = image.build(artifacts, version_note="tests")
    took = time.process_time() - began
    return Image(digest, folder, image.restore(artifacts, digest, folder), took)


@pytest.fixture
def free_port() -> Callable[[], int]:
    def choose() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return choose
