"""`spotforge status`, `logs` and `down`: what they print and how they end, on a real store and on damaged folders."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import main
from stacks.local import paths
from stacks.local.supervisor import Program, Supervisor
from stacks.outputs import StackOutputs
from tests.cli.shell import refusal, refused, running, spotforge


@pytest.fixture
def home(stack_store: StackOutputs) -> Path:
    assert stack_store.state_dir is not None
    return stack_store.state_dir


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A state folder with two parts' logs."""
    for part in ("mlflow", "envoy"):
        paths.log(tmp_path, part).parent.mkdir(exist_ok=True)
        paths.log(tmp_path, part).write_text("".join(f"{part} line {number}\n" for number in range(1, 101)))
    return tmp_path


@pytest.fixture
def a_dying_part(home: Path) -> Iterator[None]:
    supervisor = Supervisor(home)
    supervisor.ensure(Program("dying", (sys.executable, "-c", "raise SystemExit(1)"), {}, home))
    yield
    supervisor.remove("dying")


def test_status_shows_every_part_with_its_address_and_exits_0(home: Path, stack_store: StackOutputs) -> None:
    done = spotforge("status", "--home", home)
    assert done.returncode == 0, done.stderr
    assert f"local stack in {home}" in done.stdout
    row = next(line for line in done.stdout.splitlines() if "seaweedfs" in line)
    assert stack_store.object_store.endpoint is not None
    for cell in ("RUNNING", stack_store.object_store.endpoint, "MiB"):
        assert cell in row


def test_status_as_json_is_one_list_for_a_program(home: Path, stack_store: StackOutputs) -> None:
    done = CliRunner().invoke(main.app, ["status", "--json", "--home", str(home)])
    assert done.exit_code == 0
    [row] = json.loads(done.stdout)
    assert row["name"] == "seaweedfs"
    assert row["state"] == "RUNNING"
    assert row["address"] == stack_store.object_store.endpoint
    assert row["pid"] > 0
    assert row["memory"] > 1 << 20, "bytes, not megabytes"


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_status_exits_3_when_a_part_does_not_run(home: Path, a_dying_part: None, how: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main.app, ["status", "--home", str(home), *how])
    assert done.exit_code == 3
    assert "dying" in done.stdout, "which one must be said, not only that one is"


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_status_without_a_stack_is_one_line_and_exit_1(tmp_path: Path, how: tuple[str, ...]) -> None:
    said = refusal(spotforge("status", "--home", tmp_path / "none", *how))
    assert said == f"spotforge: no stack is running in {tmp_path / 'none'}. Run `spotforge up`."


@pytest.mark.parametrize(
    ("name", "said"), [("outputs.json", "Write it anew with `spotforge up`."), ("ports.json", "Run `spotforge down --purge`")]
)
def test_status_names_the_file_that_is_damaged(home: Path, name: str, said: str) -> None:
    whole = (home / name).read_text()
    (home / name).write_text(whole[:40])
    try:
        found = refusal(spotforge("status", "--home", home))
    finally:
        (home / name).write_text(whole)
    assert str(home / name) in found
    assert said in found


def test_the_home_comes_from_the_environment_where_no_option_names_it(logs: Path) -> None:
    done = spotforge("logs", "mlflow", "-n", "1", SPOTFORGE_HOME=str(logs))
    assert done.stdout == "mlflow line 100\n"


@pytest.mark.parametrize(("lines", "first"), [("3", 98), ("0", None), ("5000", 1)])
def test_logs_prints_the_last_lines(logs: Path, lines: str, first: int | None) -> None:
    done = CliRunner().invoke(main.app, ["logs", "mlflow", "-n", lines, "--home", str(logs)])
    assert done.exit_code == 0
    wanted = [f"mlflow line {number}" for number in range(first, 101)] if first else []
    assert done.stdout.splitlines() == wanted


def test_logs_of_a_part_that_is_not_there_names_those_that_are(logs: Path) -> None:
    assert refused("logs", "mlfow", "--home", logs) == ("there is no log of 'mlfow'. Known parts: envoy, mlflow.")


def test_logs_before_the_first_up_says_what_to_do(tmp_path: Path) -> None:
    assert refused("logs", "mlflow", "--home", tmp_path).endswith("Known parts: none yet; run `spotforge up`.")


def test_logs_reads_nothing_but_the_parts_logs(logs: Path) -> None:
    (logs / "secret.log").write_text("a secret\n")
    assert refused("logs", "../secret", "--home", logs).startswith("there is no log of '../secret'")


def test_logs_follows_into_the_next_file_and_ends_on_ctrl_c_with_130(logs: Path) -> None:
    log = paths.log(logs, "envoy")
    with running("logs", "envoy", "-f", "-n", "1", "--home", logs) as following:
        assert following.out.readline() == "envoy line 100\n"
        with log.open("a") as stream:
            stream.write("half a ")
            stream.flush()
            stream.write("line\n")
        assert following.out.readline() == "half a line\n"
        # As supervisord does at 20 MB; a last line may still go to the old file.
        old = log.open("a")
        log.rename(log.with_name("envoy.log.1"))
        old.write("the old file's last\n")
        old.close()
        log.write_text("the new file's first\n")
        assert [following.out.readline() for _ in range(2)] == ["the old file's last\n", "the new file's first\n"]
        following.process.send_signal(signal.SIGINT)
        assert following.process.wait() == 130
        assert following.err.read() == ""


def test_down_says_that_there_is_nothing_to_stop(tmp_path: Path) -> None:
    done = spotforge("down", "--home", tmp_path / "none")
    assert done.returncode == 0
    assert done.stderr == f"Nothing to stop: {tmp_path / 'none'} does not exist.\n"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("how", [(), ("--purge",)])
@pytest.mark.parametrize("names", [{"thesis.tex"}, {"thesis.tex", "lock"}, {"demo", "photos"}])
def test_down_touches_nothing_in_a_folder_that_is_not_a_stacks(tmp_path: Path, names: set[str], how: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    said = refused("down", "--home", tmp_path, *how)
    assert said.startswith(f"{tmp_path} is not a state folder. Name one with `--home`")
    assert {path.name for path in tmp_path.iterdir()} == names
    assert all(path.read_text() == "mine" for path in tmp_path.iterdir())


@pytest.mark.parametrize("linked", [False, True])
def test_down_purge_deletes_the_state_and_what_names_it(tmp_path: Path, linked: bool) -> None:
    home = tmp_path / "home"
    (home / "seaweedfs").mkdir(parents=True)
    (home / "ports.json").write_text("{}")
    if linked:
        home.rename(tmp_path / "big-disk")
        home.symlink_to(tmp_path / "big-disk")
    done = spotforge("down", "--purge", "--home", home)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"Stopped 0 processes.\nDeleted {home}.\n"
    assert list(tmp_path.iterdir()) == []
