"""The runbook against a real Envoy, a real supervisord and the real ledger code: sick, diagnosed, mitigated, well again."""

import json
import re
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import tenacity
from moto import mock_aws

from cli.runbook import carry_out
from pipelines.objects import Objects
from pipelines.release.gateway_envoy import EnvoyGateway
from pipelines.release.ledger import Ledger
from pipelines.release.platform import Endpoint, Routes
from pipelines.release.record import Stage
from runbooks import catalog
from stacks.local import envoy
from stacks.local.supervisor import Program, Supervisor
from stacks.outputs import Buckets, Gateway, ObjectStore, Orchestration, StackOutputs, Tracking
from tests.runbooks.sick import NEW, OLD

RUNBOOK = catalog.get("serving-errors")
WINDOW_S = 0.5
BIN = Path(sys.executable).parent
awaited = tenacity.retry(
    stop=tenacity.stop_after_delay(15), wait=tenacity.wait_fixed(0.02), retry=tenacity.retry_if_exception_type(AssertionError)
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    """Envoy, two servers of which the canary's answers 500, and a stand-in for the controller, under one supervisord."""
    home = tmp_path_factory.mktemp("home")
    gateway, admin, good, bad = (free_port() for _ in range(4))
    bootstrap = envoy.write_bootstrap(home / "envoy", port=gateway, admin_port=admin)
    server = str(Path(__file__).parent / "upstream.py")
    programs = {
        "envoy": [str(BIN / "envoy"), "-c", str(bootstrap), "--concurrency", "1", "--disable-hot-restart", "-l", "warn"],
        f"serving-{OLD}": [sys.executable, server, str(good), "200"],
        f"serving-{NEW}": [sys.executable, server, str(bad), "500"],
        "release-controller": [sys.executable, "-c", "import signal; signal.pause()"],
    }
    supervisor = Supervisor(home)
    supervisor.start({"SPOTFORGE_HOME": str(home)})
    pid = supervisor.pid()
    assert pid is not None
    family = psutil.Process(pid)
    try:
        for name, command in programs.items():
            supervisor.ensure(Program(name, tuple(command), {}, home))
        outputs = StackOutputs(
            stack="local",
            platform="local",
            object_store=ObjectStore(
                region="us-east-1", buckets=Buckets(artifacts="artifacts", data="data", ledger="ledger", logs="logs")
            ),
            tracking=Tracking(uri="http://127.0.0.1:1"),
            orchestration=Orchestration(url="http://127.0.0.1:1"),
            gateway=Gateway(url=f"http://127.0.0.1:{gateway}", admin_url=f"http://127.0.0.1:{admin}"),
            state_dir=home,
        )
        (home / "servers.json").write_text(json.dumps({OLD: good, NEW: bad}))
        all_run(supervisor)
        yield outputs
    finally:
        processes = [family, *family.children(recursive=True)]
        supervisor.shutdown()
        _, left = psutil.wait_procs(processes, timeout=15)
        for process in left:
            process.kill()


@awaited
def all_run(supervisor: Supervisor) -> None:
    assert {state.state for state in supervisor.states().values()} == {"RUNNING"}


@pytest.fixture
def ledger(stack: StackOutputs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """OLD in production and NEW in a canary of 25 %, in the ledger and at the gateway."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "test")
    with mock_aws():
        for bucket in ("ledger", "artifacts"):
            Objects(stack.object_store, bucket)._client.create_bucket(Bucket=bucket)
        ledger = Ledger.of(stack)
        path: list[tuple[str, Stage | None, Stage]] = [
            (OLD, None, Stage.CANDIDATE),
            (OLD, Stage.CANDIDATE, Stage.STAGING),
            (OLD, Stage.STAGING, Stage.PRODUCTION),
            (NEW, None, Stage.CANDIDATE),
            (NEW, Stage.CANDIDATE, Stage.STAGING),
            (NEW, Stage.STAGING, Stage.SHADOW),
            (NEW, Stage.SHADOW, Stage.CANARY),
        ]
        for release, before, after in path:
            ledger.append(release, after, who="test", why="test", from_=before, weight=25 if after is Stage.CANARY else None)
        route(stack, {OLD: 75, NEW: 25})
        yield ledger


def route(stack: StackOutputs, weights: dict[str, int]) -> None:
    assert stack.state_dir is not None
    ports = json.loads((stack.state_dir / "servers.json").read_text())
    endpoints = {release: (Endpoint("127.0.0.1", port),) for release, port in ports.items()}
    EnvoyGateway(stack).apply(Routes(weights=weights, endpoints=endpoints))


@contextmanager
def callers(stack: StackOutputs) -> Iterator[None]:
    """Two callers ask as fast as they can, whatever they are answered."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                urllib.request.urlopen(stack.gateway.url, timeout=5).close()  # noqa: S310 - our own loopback address
            except urllib.error.HTTPError as error:
                error.close()
            except OSError:
                stop.wait(0.01)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def run(stack: StackOutputs, capsys: pytest.CaptureFixture[str], *, apply: bool = False) -> tuple[int, dict[str, object]]:
    """The command as a program reads it: exit code and JSON."""
    with callers(stack):
        code = carry_out(RUNBOOK, stack, apply=apply, as_json=True, window=WINDOW_S)
    return code, json.loads(capsys.readouterr().out)


def test_a_canary_that_errs_is_found_and_rolled_back_by_a_record(
    stack: StackOutputs, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run(stack, capsys)
    assert (code, said["cause"], said["subject"]) == (10, "canary-errors", NEW), said
    assert ledger.in_flight() == NEW, "without --apply nothing is changed"
    code, said = run(stack, capsys, apply=True)
    assert code == 10
    assert f"{NEW} is rolled back" in str(said["done"])
    last = ledger.records()[-1]
    assert (last.release, last.to, last.who) == (NEW, Stage.ROLLED_BACK, "runbook serving-errors")
    route(stack, {OLD: 100})  # what the release controller does on its next tick
    code, said = run(stack, capsys)
    assert (code, said["verdict"]) == (0, "healthy"), said


def test_a_server_that_is_down_is_found_and_started(
    stack: StackOutputs, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.state_dir is not None
    supervisor = Supervisor(stack.state_dir)
    supervisor._rpc().stopProcess(f"serving-{OLD}", True)
    code, said = run(stack, capsys, apply=True)
    assert (code, said["cause"], said["subject"]) == (10, "server-down", f"serving-{OLD}"), said
    all_run(supervisor)


def test_a_gateway_that_is_gone_leaves_the_runbook_unable_to_tell(
    stack: StackOutputs, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.state_dir is not None
    supervisor = Supervisor(stack.state_dir)
    supervisor._rpc().stopProcess("envoy", True)
    code, said = run(stack, capsys, apply=True)
    assert (code, said["verdict"], said["cause"]) == (20, "cannot tell", "gateway-unreachable"), said
    assert said["done"] == []
    supervisor.restart("envoy")
    all_run(supervisor)


def test_a_ledger_that_is_away_leaves_the_runbook_unable_to_tell(
    stack: StackOutputs, ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = stack.model_copy(
        update={
            "object_store": stack.object_store.model_copy(
                update={"buckets": Buckets(artifacts="a", data="d", ledger="gone", logs="g")}
            )
        }
    )
    code, said = run(away, capsys)
    assert (code, said["verdict"]) == (20, "cannot tell"), said
    assert "ledger:" in json.dumps(said["findings"])


def test_every_metric_of_the_rule_is_one_that_envoy_exports(stack: StackOutputs, ledger: Ledger) -> None:
    with urllib.request.urlopen(f"{stack.gateway.admin_url}/stats/prometheus", timeout=10) as answer:  # noqa: S310 - our own loopback address
        exported = answer.read().decode()
    selectors = re.findall(r"(\w+)\{([^}]*)\}", RUNBOOK.alert.expr)
    assert len(selectors) == 2
    for metric, labels in selectors:
        lines = [line for line in exported.splitlines() if line.startswith(f"{metric}{{")]
        assert lines, f"Envoy exports no {metric}"
        assert any(all(label in line for label in labels.split(",")) for line in lines), f"no {metric} has {labels}"
