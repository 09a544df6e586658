"""A real model server as the tests drive it: started, asked, counted, stopped."""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.pipelines.serving import tiny

ROOT = Path(__file__).resolve().parents[3]
START_S = 20
"""Patience on a busy machine; a start takes 0.7 s."""


class Server:
    """One server process and a connection to it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def predict(self, *identities: str, features: dict[str, Any] | None = None, time: str | None = None, **headers: str) -> Any:
        """The answer's JSON to one request of a row an identity."""
        features = tiny.EXAMPLE[0] if features is None else features
        rows = [{"id": identity, "time": time, "features": features} for identity in identities]
        status, _, body = self.call("POST", "/v1/predict", json.dumps({"requests": rows}).encode(), **headers)
        assert status == 200, body
        return json.loads(body)

    def metric(self, name: str) -> float:
        """Value of one sample, written as `/metrics` shows it."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.call("GET", "/metrics")[2].decode(), re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def hang_up(self) -> None:
        self._connection.close()

    def stop(self, *, within_s: float = 5.0) -> int:
        """SIGTERM; the exit code."""
        self.hang_up()
        self.process.terminate()
        return self.process.wait(within_s)


def command(python: Path | str, release: str, port: int, outputs: Path) -> list[str]:
    return [str(python), "-m", "pipelines.serving.server", "--release", release, "--port", str(port), "--outputs", str(outputs)]


@contextmanager
def running(release: str, port: int, outputs: Path, python: Path | str = sys.executable, cwd: Path = ROOT) -> Iterator[Server]:
    """A ready server; killed at the end if the test did not stop it."""
    process = subprocess.Popen(command(python, release, port, outputs), stderr=subprocess.PIPE, text=True, cwd=cwd)
    try:
        deadline = time.monotonic() + START_S
        while not _ready(port):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline, "the server did not become ready"
            time.sleep(0.02)
        server = Server(process, port)
        try:
            yield server
        finally:
            server.hang_up()
    finally:
        process.kill()
        process.communicate()


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
