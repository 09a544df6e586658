"""The local stack, real: the whole of it once a session, and a small one (store and gateway) that is killed and damaged."""

import http.client
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stacks.errors import UserError
from stacks.local import parts, paths, ports, probes, stack
from stacks.local.supervisor import Program, Supervisor
from stacks.outputs import StackOutputs

SMALL = ("seaweedfs", "envoy")
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


class Said:
    """What `up` reported, to ask for by part."""

    def __init__(self) -> None:
        self.words: list[tuple[str, str]] = []

    def __call__(self, part: str, word: str) -> None:
        self.words.append((part, word))

    def of(self, part: str) -> list[str]:
        return [word for name, word in self.words if name == part]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stack.down(tmp_path / "home")


def _home(outputs: StackOutputs) -> Path:
    assert outputs.state_dir is not None
    return outputs.state_dir


def _pid(home: Path, part: str) -> int:
    return Supervisor(home).states()[part].pid


def test_every_part_of_the_stack_runs_and_has_answered(local_stack: StackOutputs) -> None:
    rows = {row.name: row for row in stack.status(_home(local_stack))}
    assert set(rows) == set(parts.PARTS)
    assert {row.state for row in rows.values()} == {"RUNNING"}
    assert all(row.memory > 0 and row.pid for row in rows.values())
    assert probes.location_loaded(local_stack.orchestration.url)
    assert probes.daemons_healthy(local_stack.orchestration.url)


def test_nothing_of_the_stack_listens_beyond_loopback(local_stack: StackOutputs) -> None:
    found = [
        (process.name(), connection.laddr.ip, connection.laddr.port)
        for process in stack.stragglers(_home(local_stack))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(found) >= len(parts.PARTS), "the listeners were not seen, so nothing is proven"
    assert not [listener for listener in found if listener[1] not in LOOPBACK]


def test_the_listeners_are_the_ports_that_the_stack_has_written_down(local_stack: StackOutputs) -> None:
    chosen = ports.load(_home(local_stack) / "ports.json")
    assert chosen is not None
    found = {
        connection.laddr.port
        for process in stack.stragglers(_home(local_stack))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert not found - set(chosen.all().values()), "a port that is not written down can collide with another stack's"


def test_a_second_up_keeps_what_lives(local_stack: StackOutputs) -> None:
    before, said = {row.name: row.pid for row in stack.status(_home(local_stack))}, Said()
    stack.up(_home(local_stack), progress=said)
    assert {part: said.of(part) for part in parts.PARTS} == {part: ["kept", "ready"] for part in parts.PARTS}
    assert {row.name: row.pid for row in stack.status(_home(local_stack))} == before


def test_a_killed_daemon_comes_back_healthy(local_stack: StackOutputs) -> None:
    pid = _pid(_home(local_stack), "dagster-daemon")
    os.kill(pid, signal.SIGKILL)
    stack.up(_home(local_stack))
    assert _pid(_home(local_stack), "dagster-daemon") not in {0, pid}


def test_the_gateway_answers_503_while_nothing_serves(local_stack: StackOutputs) -> None:
    connection = http.client.HTTPConnection(local_stack.gateway.url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/v1/model")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (503, b'{"error":"no release is serving"}')
    connection.close()


def test_the_store_refuses_who_has_no_key(stack_store: StackOutputs) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{stack_store.object_store.endpoint}/ledger", timeout=5)  # noqa: S310 - loopback
    assert stack_store.object_store.credentials_file is not None
    for secret in (stack_store.object_store.credentials_file, paths.s3_identity(_home(stack_store))):
        assert secret.stat().st_mode & 0o777 == 0o600, f"{secret} can be read by others"


def test_the_ledger_bucket_keeps_versions_and_takes_locks(stack_store: StackOutputs) -> None:
    import boto3

    from stacks.credentials import read

    store = stack_store.object_store
    key, secret = read(store)
    client = boto3.client(
        "s3", endpoint_url=store.endpoint, region_name=store.region, aws_access_key_id=key, aws_secret_access_key=secret
    )
    assert {bucket["Name"] for bucket in client.list_buckets()["Buckets"]} >= set(store.buckets.model_dump().values())
    assert client.get_bucket_versioning(Bucket=store.buckets.ledger)["Status"] == "Enabled"
    lock = client.get_object_lock_configuration(Bucket=store.buckets.ledger)
    assert lock["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"


def test_a_killed_supervisor_leaves_strays_that_the_next_up_ends_and_names(home: Path) -> None:
    stack.up(home, port_base=ports.free_base(), parts=SMALL)
    envoy, orphans = _pid(home, "envoy"), {_pid(home, part) for part in SMALL}
    supervisor = Supervisor(home).pid()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor)] if psutil.pid_exists(supervisor) else [], timeout=5)
    said = Said()
    stack.up(home, parts=SMALL, progress=said)
    # Envoy at least: the store may have died by itself, of a log that nobody reads any more.
    assert "ended processes that an earlier run left behind" in said.of("stack")[0]
    assert str(envoy) in said.of("stack")[0]
    assert orphans.isdisjoint({process.pid for process in stack.stragglers(home)})


def test_down_leaves_no_process_and_says_how_many_it_ended(home: Path) -> None:
    stack.up(home, port_base=ports.free_base(), parts=SMALL)
    assert stack.down(home) == 1 + len(SMALL)
    assert stack.stragglers(home) == []
    assert stack.down(home) == 0


def test_a_taken_port_is_named_with_its_holder_before_anything_starts(home: Path) -> None:
    base = ports.free_base()
    code = f"import socket; s = socket.create_server(('127.0.0.1', {base + 2})); print('up', flush=True); s.accept()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(
                UserError, match=rf"port {base + 2} \(gateway\) is taken by .* \(pid {holder.pid}\).*--port-base"
            ):
                stack.up(home, port_base=base, parts=SMALL)
        finally:
            holder.kill()
    assert stack.stragglers(home) == []


def test_a_part_that_cannot_start_is_named_with_its_last_word(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies after supervisord has called it RUNNING, as a server with a broken import does."""
    code = "import time; time.sleep(1.2); raise RuntimeError('the wheel is broken')"
    broken = parts.Part(Program("broken", (sys.executable, "-c", code), {}, Path.cwd()), "-", lambda: False)
    monkeypatch.setattr(parts, "build", lambda *_: {"broken": broken})
    with pytest.raises(UserError, match=r"broken does not start: RuntimeError: the wheel is broken.*spotforge logs broken"):
        stack.up(home, port_base=ports.free_base(), parts=("broken",))


def test_an_interrupted_up_stops_what_it_started(home: Path) -> None:
    def interrupt(part: str, word: str) -> None:
        if word == "starting":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stack.up(home, port_base=ports.free_base(), parts=SMALL, progress=interrupt)
    assert stack.stragglers(home) == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ports.json", r"ports\.json is damaged"),
        ("credentials", r"credentials: no credentials for the object store"),
        ("seaweedfs", r"seaweedfs cannot be used \(File exists\)"),
        ("mlflow/mlflow.db", r"mlflow\.db is damaged \(file is not a database\)"),
        ("dagster/history/runs.db", r"runs\.db is damaged \(file is not a database\)"),
    ],
)
def test_a_damaged_state_folder_is_refused_by_name_with_the_way_out(home: Path, damage: str, said: str) -> None:
    (home / damage).parent.mkdir(parents=True)
    (home / damage).write_bytes(b"\xff\x00 not what it was" * 100)
    with pytest.raises(UserError, match=f"{said}.*(--purge|Remove it)"):
        stack.up(home, port_base=None if damage == "ports.json" else ports.free_base(), parts=SMALL)
    assert stack.stragglers(home) == []


def test_an_unreadable_outputs_file_is_written_anew(home: Path) -> None:
    home.mkdir()
    paths.outputs(home).write_bytes(b"\xff\xfe{")
    base = ports.free_base()
    outputs, _ = stack.prepare(home, port_base=base)
    assert StackOutputs.load(paths.outputs(home)) == outputs


def test_a_torn_page_in_a_database_is_found_before_a_part_dies_of_it(home: Path) -> None:
    path = home / "mlflow" / "mlflow.db"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("create table runs (text)")
        connection.executemany("insert into runs values (?)", [("x" * 1000,)] * 100)
    connection.close()
    body = bytearray(path.read_bytes())
    body[8192:40960] = bytes(32768)
    path.write_bytes(body)
    with pytest.raises(UserError, match=r"mlflow\.db is damaged.*--purge"):
        stack.up(home, port_base=ports.free_base(), parts=SMALL)


def test_a_disk_that_is_too_full_is_said_up_front(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(UserError, match=r"GiB free and the stack wants .*Free some space.*--home"):
        stack.up(home, parts=SMALL)


def test_a_living_stack_keeps_its_ports_and_its_model(stack_store: StackOutputs) -> None:
    with pytest.raises(UserError, match=r"is running on ports from \d+.*spotforge down"):
        stack.up(_home(stack_store), port_base=31900, parts=SMALL)
    with pytest.raises(UserError, match=r"is running with the model .*spotforge down"):
        stack.up(_home(stack_store), model="another.model", parts=SMALL)
