"""The model server as a process: its answers, its bad callers, its signals, its end."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from pipelines.objects import Objects
from pipelines.release import record
from pipelines.release.record import Release
from pipelines.serving import tree
from pipelines.serving.package import Package
from pipelines.serving.requests import MAX_BYTES
from pipelines.tables import Tables
from stacks.outputs import StackOutputs
from tests.pipelines.serving import tiny
from tests.pipelines.serving.conftest import Image
from tests.pipelines.serving.process import Server, command, running
from tests.pipelines.serving.test_requests import bodies

FreePort = Callable[[], int]


@pytest.fixture(scope="module")
def release(outputs: StackOutputs, built: Image) -> Release:
    return tiny.publish(outputs, number=1, image=built.digest, flush_s=0.2)


@pytest.fixture(scope="module")
def server(release: Release, outputs_file: Path, built: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server in its image, for the tests that only ask."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running(release.id, port, outputs_file, built.python) as started:
        yield started


def logged(outputs: StackOutputs, release: str) -> pl.DataFrame:
    scan = Tables(outputs).scan("predictions")
    assert scan is not None
    return scan.filter(pl.col("release") == release).collect()


def test_it_answers_what_the_package_expects(server: Server, release: Release) -> None:
    expected = tiny.package().expected
    rows = [{"id": f"r{index}", "features": row} for index, row in enumerate(tiny.EXAMPLE)]
    status, headers, body = server.call("POST", "/v1/predict", json.dumps({"requests": rows}).encode())
    assert status == 200
    assert headers["x-spotforge-release"] == release.id
    answer = json.loads(body)
    assert answer["release"] == release.id
    assert [(entry["id"], entry["prediction"]) for entry in answer["predictions"]] == [
        ("r0", pytest.approx(expected[0], abs=1e-7)),
        ("r1", pytest.approx(expected[1], abs=1e-7)),
    ]


def test_a_large_request_is_answered_in_order(server: Server) -> None:
    rows = [{"id": str(n), "features": {**tiny.EXAMPLE[0], "distance": n * 5}} for n in range(1000)]
    _, _, body = server.call("POST", "/v1/predict", json.dumps({"requests": rows}).encode())
    answers = json.loads(body)["predictions"]
    assert [entry["id"] for entry in answers] == [str(n) for n in range(1000)]
    values = [entry["prediction"] for entry in answers]
    assert values == sorted(values), "the prediction grows with the distance"
    assert values[0] < values[-1]


def test_it_says_what_it_is(server: Server, release: Release, built: Image) -> None:
    told = json.loads(server.call("GET", "/v1/model")[2])
    code = built.python.parents[1] / tree.CODE
    assert told == {
        "release": release.id,
        "model": "tiny",
        "model_digest": release.model.digest,
        "image_digest": built.digest,
        "code_digest": tree.digest_of(tree.code_files(code)),
    }
    assert server.call("GET", "/healthz")[0] == 200


def test_every_answer_carries_the_release(server: Server, release: Release) -> None:
    for method, path in (("GET", "/nowhere"), ("GET", "/v1/predict"), ("POST", "/metrics"), ("GET", "/metrics")):
        assert server.call(method, path)[1]["x-spotforge-release"] == release.id


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("GET", "/v1/predict", None, 405),
        ("POST", "/v1/model", b"{}", 405),
        ("POST", "/v1/predict", b"not json", 400),
        ("POST", "/v1/predict", b"{}", 422),
        ("POST", "/v1/predict", b" " * (MAX_BYTES + 1), 413),
    ],
)
def test_a_bad_request_is_refused_in_one_line(server: Server, method: str, path: str, body: bytes | None, status: int) -> None:
    answered, headers, text = server.call(method, path, body)
    assert answered == status
    assert headers["content-type"] == "application/json"
    assert "\n" not in json.loads(text)["error"]
    server.predict("after")


@settings(max_examples=150, deadline=None)
@given(bodies)
def test_no_body_makes_it_fail(server: Server, body: bytes) -> None:
    assert server.call("POST", "/v1/predict", body)[0] < 500
    assert server.process.poll() is None


@pytest.mark.parametrize(
    "raw", [b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 64, b"POST /v1/predict HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_not_http_does_not_hurt_it(server: Server, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1000)
    server.predict("after")


def test_surprising_values_are_counted(server: Server) -> None:
    unseen, null = (
        'spotforge_feature_faults_total{feature="carrier",kind="unseen"}',
        'spotforge_feature_faults_total{feature="distance",kind="null"}',
    )
    before = server.metric(unseen), server.metric(null)
    server.predict("x", features={"distance": None, "carrier": "??", "wind": None})
    assert (server.metric(unseen), server.metric(null)) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(
    ("host", "arm"),
    [
        ("model.example-shadow", "shadow"),
        ("127.0.0.1-shadow:8080", "shadow"),
        ("127.0.0.1:8080", "live"),
        ("my-shadow.org", "live"),
    ],
)
def test_a_mirrored_request_is_known_by_its_host(server: Server, host: str, arm: str) -> None:
    name = f'spotforge_requests_total{{arm="{arm}",code="200"}}'
    before = server.metric(name)
    server.predict("x", Host=host)
    assert server.metric(name) == before + 1


def test_sigterm_writes_the_log_and_ends_with_zero(outputs: StackOutputs, outputs_file: Path, free_port: FreePort) -> None:
    release = tiny.publish(outputs, number=2, flush_s=30.0)
    with running(release.id, free_port(), outputs_file) as server:
        server.predict("a", "b", time="2013-01-01T05:00:00Z")
        server.predict("c", Host="gateway-shadow")
        assert server.stop() == 0
    found = logged(outputs, release.id).sort("request_id")
    assert found["request_id"].to_list() == ["a", "b", "c"], "the last append came at the end, long before flush_s"
    assert found["arm"].to_list() == ["live", "live", "shadow"]
    assert found["event_time"].is_null().to_list() == [False, False, True]


def refusal(release: str, port: int, outputs_file: Path, python: Path | str = "") -> str:
    done = subprocess.run(
        command(python or sys.executable, release, port, outputs_file), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_release_that_does_not_exist_is_one_line(outputs_file: Path, free_port: FreePort) -> None:
    assert "there is no release 'r9999-00000000'" in refusal("r9999-00000000", free_port(), outputs_file)


def test_a_missing_model_is_one_line(
    outputs: StackOutputs, artifacts: Objects, outputs_file: Path, free_port: FreePort
) -> None:
    release = tiny.publish(outputs, number=3, packaged=tiny.package(weights=(0.1, 0.2, 0.3)))
    artifacts.delete(f"{release.model.package}/model.onnx")
    assert f"{release.model.package}/model.onnx is missing" in refusal(release.id, free_port(), outputs_file)


def test_a_package_that_is_not_the_record_s_is_refused(outputs: StackOutputs, outputs_file: Path, free_port: FreePort) -> None:
    sound = tiny.publish(outputs, number=4)
    altered = sound.model_copy(update={"id": "r0005-00000000", "model": sound.model.model_copy(update={"digest": "f" * 64})})
    record.save(Objects(outputs.object_store, outputs.object_store.buckets.ledger), altered)
    assert "names model ffffffffffff, its package holds" in refusal(altered.id, free_port(), outputs_file)


def test_a_release_of_another_image_is_refused(
    outputs: StackOutputs, outputs_file: Path, built: Image, free_port: FreePort
) -> None:
    release = tiny.publish(outputs, number=6, image="sha256:" + "0" * 64)
    assert "names image sha256:000000000000" in refusal(release.id, free_port(), outputs_file, built.python)


def test_a_port_in_use_is_one_line(release: Release, outputs_file: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in refusal(release.id, port, outputs_file)


def test_a_store_that_is_away_is_one_line(outputs: StackOutputs, tmp_path: Path, free_port: FreePort) -> None:
    store = outputs.object_store.model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
    path = tmp_path / "outputs.json"
    path.write_text(outputs.model_copy(update={"object_store": store}).to_json())
    assert "cannot be reached" in refusal("r0001-00000000", free_port(), path)


def test_a_model_that_gives_no_number_is_a_server_error(outputs: StackOutputs, outputs_file: Path, free_port: FreePort) -> None:
    base = tiny.package()
    onnx = tiny.graph(operator="Log", weights=(-1.0, 0.0, 0.0))
    faulty = Package(onnx, base.signature, base.card, base.example, base.expected)
    release = tiny.publish(outputs, number=7, packaged=faulty)
    with running(release.id, free_port(), outputs_file) as server:
        body: dict[str, Any] = {"requests": [{"id": "x", "features": tiny.EXAMPLE[0]}]}
        status, _, text = server.call("POST", "/v1/predict", json.dumps(body).encode())
        assert (status, json.loads(text)["error"]) == (500, "the model gave no finite number for request 'x'")
        assert server.metric('spotforge_requests_total{arm="live",code="500"}') == 1
