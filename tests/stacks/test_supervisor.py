"""supervisord as the stack uses it, for real: a fresh one a module, in a folder whose name has all that paths may have."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import tenacity

from stacks.errors import UserError
from stacks.local import paths, stack
from stacks.local.supervisor import Program, Supervisor

WAIT = "import signal; signal.pause()"


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    home = tmp_path_factory.mktemp("home") / "50% of a folder"
    home.mkdir()
    started = Supervisor(home)
    started.start({"SPOTFORGE_HOME": str(home)})
    yield started
    stack.down(home)


def _program(name: str, code: str = WAIT, **environment: str) -> Program:
    return Program(name, (sys.executable, "-c", code), environment, Path.cwd())


def _until(condition: Callable[[], object]) -> None:
    tenacity.Retrying(
        stop=tenacity.stop_after_delay(20),
        wait=tenacity.wait_fixed(0.05),
        retry=tenacity.retry_if_result(lambda found: not found),
    )(condition)


def test_a_program_starts_once_and_is_kept_when_asked_for_again(supervisor: Supervisor) -> None:
    assert supervisor.ensure(_program("once")) == "started"
    pid = supervisor.states()["once"].pid
    assert supervisor.ensure(_program("once")) == "kept"
    assert supervisor.states()["once"].pid == pid


def test_a_changed_definition_restarts_the_program(supervisor: Supervisor) -> None:
    supervisor.ensure(_program("changing"))
    pid = supervisor.states()["changing"].pid
    assert supervisor.ensure(_program("changing", WHICH="other")) == "restarted"
    assert supervisor.states()["changing"].pid != pid


def test_arguments_environment_and_folders_reach_the_program_as_they_were_given(supervisor: Supervisor) -> None:
    said = """import os, sys; print([sys.argv[1:], os.environ["RATE"], os.environ["SPOTFORGE_HOME"]], flush=True); """
    spoken = ("it's 5%", 'a "word"', "$HOME", "")
    program = Program("echo", (sys.executable, "-c", said + WAIT, *spoken), {"RATE": "5 %"}, supervisor.home)
    supervisor.ensure(program)
    log = paths.log(supervisor.home, "echo")
    _until(lambda: log.exists() and log.read_text().strip())
    assert log.read_text().strip() == str([list(spoken), "5 %", str(supervisor.home)])


def test_a_killed_program_comes_back(supervisor: Supervisor) -> None:
    supervisor.ensure(_program("killed"))
    _until(lambda: supervisor.states()["killed"].running)
    pid = supervisor.states()["killed"].pid
    os.kill(pid, signal.SIGKILL)
    _until(lambda: supervisor.states()["killed"].running and supervisor.states()["killed"].pid != pid)


def test_a_removed_program_ends_and_is_forgotten(supervisor: Supervisor) -> None:
    supervisor.ensure(_program("removed"))
    process = psutil.Process(supervisor.states()["removed"].pid)
    supervisor.remove("removed")
    supervisor.remove("removed")
    assert "removed" not in supervisor.states()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_socket_is_for_its_owner_alone_and_found_under_another_tmpdir(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    socket = Path((supervisor.home / "supervisor" / "socket").read_text())
    assert socket.stat().st_mode & 0o777 == 0o600
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert Supervisor(supervisor.home).alive(), "a shell with another TMPDIR would take the stack for dead and end it"


def test_what_the_caller_has_in_its_environment_does_not_steer_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody-elses")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "somebody-elses")
    supervisor = Supervisor(tmp_path)
    try:
        supervisor.start({})
        about = psutil.Process(supervisor.pid()).environ()
        assert not {"AWS_PROFILE", "MLFLOW_TRACKING_TOKEN"} & set(about)
        assert about[paths.MARK] == str(tmp_path)
    finally:
        stack.down(tmp_path)


def test_strays_are_known_by_the_mark_and_not_by_an_exported_home(tmp_path: Path) -> None:
    """A person may export SPOTFORGE_HOME in a shell; `down` must not end that shell's other programs."""
    command = [sys.executable, "-c", WAIT]
    exported = subprocess.Popen(command, env={**os.environ, paths.ENV: str(tmp_path)})
    stray = subprocess.Popen(command, env={**os.environ, paths.MARK: str(tmp_path)})
    try:
        _until(lambda: [process.pid for process in stack.stragglers(tmp_path)] == [stray.pid])
        assert stack.down(tmp_path) == 1
        assert not psutil.pid_exists(stray.pid)
        assert exported.poll() is None
    finally:
        for process in (exported, stray):
            process.kill()
            process.wait()


def test_a_folder_without_a_stack_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no stack is running in .*spotforge up"):
        Supervisor(tmp_path).states()
