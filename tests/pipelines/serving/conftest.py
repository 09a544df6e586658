"""A store, outputs that name it, free ports, and one serving image for all tests of this room."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.objects import Objects
from pipelines.serving import image
from stacks import credentials
from stacks.local import parts, paths
from stacks.local.ports import Ports
from stacks.outputs import StackOutputs


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    home = tmp_path_factory.mktemp("stack")
    ports = Ports.at(24100)
    (home / "seaweedfs").mkdir()
    credentials.ensure(paths.credentials(home))
    where = "http://127.0.0.1:1"
    made = StackOutputs.model_validate(
        {
            "stack": "local",
            "platform": "local",
            "object_store": {
                "region": "us-east-1",
                "endpoint": f"http://127.0.0.1:{ports.s3}",
                "credentials_file": paths.credentials(home),
                "buckets": {"artifacts": "artifacts", "data": "data", "ledger": "ledger", "logs": "logs"},
            },
            "tracking": {"uri": where},
            "orchestration": {"url": where},
            "gateway": {"url": where, "admin_url": where},
        }
    )
    parts._write_s3_identity(home)
    process = subprocess.Popen(parts._seaweed(home, ports), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not parts._buckets(made):
            time.sleep(0.05)
        yield made
    finally:
        process.kill()
        process.wait()


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
    began = time.monotonic()
    digest = image.build(artifacts, version_note="tests")
    took = time.monotonic() - began
    return Image(digest, folder, image.restore(artifacts, digest, folder), took)


@pytest.fixture
def free_port() -> Callable[[], int]:
    def choose() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return choose
