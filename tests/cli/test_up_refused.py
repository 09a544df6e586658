"""`spotforge up` where it cannot: one line before anything has started, and nothing left behind.

That the stack itself refuses is proven in `tests/stacks`; here is what a person sees of it, and what the command adds.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stacks.local import paths, ports, stack
from stacks.outputs import StackOutputs
from tests.cli.shell import environment, refusal, refused, running, spotforge


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    left = stack.stragglers(tmp_path / "home")
    stack.down(tmp_path / "home")
    assert left == [], "a refused `up` has left processes behind"


def _damaged_ports(home: Path) -> None:
    home.mkdir()
    (home / "ports.json").write_text('{"dagster": 21')


def _a_file(home: Path) -> None:
    home.write_text("not a folder")


def _a_full_disk(home: Path) -> None:
    # The kernel's own answer of a full disk, for the one file that is written next.
    home.mkdir()
    (home / "seaweedfs.json").touch()
    (home / "outputs.new").symlink_to("/dev/full")


@pytest.mark.parametrize(
    ("damage", "what", "do"),
    [
        (_damaged_ports, "ports.json is damaged", "Run `spotforge down --purge` and start again."),
        (_a_file, "cannot be used (File exists)", "Remove it, or name another place with `--home`."),
        (_a_full_disk, "cannot be used (No space left on device)", "Free some space, then run the command again."),
    ],
    ids=["damaged ports", "home is a file", "full disk"],
)
def test_a_home_that_cannot_be_used_is_refused(home: Path, damage: Callable[[Path], None], what: str, do: str) -> None:
    damage(home)
    said = refusal(spotforge("up", "--home", home))
    assert str(home) in said
    assert what in said
    assert said.endswith(do)


def test_a_place_that_cannot_be_written_to_is_refused() -> None:
    said = refusal(spotforge("up", "--home", "/proc/spotforge"))
    assert said == (
        "spotforge: /proc/spotforge cannot be used (No such file or directory). Remove it, or name another place with `--home`."
    )


def test_the_way_out_of_a_damaged_home_works(home: Path) -> None:
    _damaged_ports(home)
    assert "down --purge" in refusal(spotforge("up", "--home", home))
    assert spotforge("down", "--purge", "--home", home).returncode == 0
    assert not home.exists()


def test_too_little_space_is_said_with_both_numbers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "MIN_FREE_BYTES", 5 << 50)
    assert "GiB free and the stack wants 5242880" in refused("up", "--home", home)


def test_a_taken_port_is_said_with_who_has_it_and_the_option_that_helps(home: Path) -> None:
    base = ports.free_base()
    with socket.create_server((ports.HOST, base + 1)):
        said = refusal(spotforge("up", "--home", home, "--port-base", base))
    assert f"port {base + 1} (mlflow) is taken by " in said
    assert f"(pid {os.getpid()})" in said
    assert "--port-base" in said
    assert not list((home / "logs").glob("*.log")), "something was started before the ports were looked at"


def test_a_folder_with_other_things_in_it_is_refused_before_a_file_is_written(home: Path) -> None:
    home.mkdir()
    (home / "thesis.tex").touch()
    (home / "lock").touch()
    said = refusal(spotforge("up", "--home", home))
    assert said == f"spotforge: {home} holds other things than a stack's state. Name a new or an empty folder with `--home`."
    assert {path.name for path in home.iterdir()} == {"thesis.tex", "lock"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "model package 'acme' cannot be imported (No module named 'acme')"),
        ("import acme_base\n", "model package 'acme' cannot be imported (No module named 'acme_base')"),
        ("MODEL = 1 / 0\n", "model package 'acme' cannot be imported (ZeroDivisionError: division by zero)"),
        ("def MODEL(:\n", "model package 'acme' cannot be imported (SyntaxError: "),
        ("model = 1\n", "acme.model has no object named MODEL"),
        ("class MODEL:\n    name = 'tiny'\n", "acme.model.MODEL lacks baseline, build_features, contract, "),
    ],
    ids=["no such package", "a broken import", "code that raises", "not Python", "no MODEL", "half a MODEL"],
)
def test_a_model_that_is_not_there_is_refused_before_anything_is_written(home: Path, code: str | None, said: str) -> None:
    if code is not None:
        _package(home.parent, code)
    found = refusal(spotforge("up", "--home", home, SPOTFORGE_MODEL="acme", PYTHONPATH=str(home.parent)))
    assert found.startswith(f"spotforge: {said}")
    assert "docs/bring-your-own-model.md" in found
    assert not home.exists()


def test_the_model_that_the_stack_remembers_is_looked_for_too(home: Path, stack_store: StackOutputs) -> None:
    home.mkdir()
    paths.outputs(home).write_text(stack_store.model_copy(update={"model": "acme"}).to_json())
    assert "model package 'acme' cannot be imported" in refusal(spotforge("up", "--home", home))
    assert {path.name for path in home.iterdir()} == {"outputs.json"}


def test_a_living_stack_is_not_given_another_model(stack_store: StackOutputs) -> None:
    home = stack_store.state_dir
    assert home is not None
    said = refusal(spotforge("up", "--home", home, SPOTFORGE_MODEL="tests.byo", PYTHONPATH=str(paths.PROJECT)))
    assert (
        said == f"spotforge: the stack in {home} is running with the model pipelines.flight_delay. Run `spotforge down` first."
    )
    assert StackOutputs.load(paths.outputs(home)) == stack_store, "the parts would read the other model and serve the old one"


@pytest.mark.parametrize("command", ["up", "down", "demo"])
def test_the_second_command_is_told_that_the_first_is_running_and_where(home: Path, command: str) -> None:
    with _held(home) as pid:
        said = refusal(spotforge(command, "--home", home))
    assert said == f"spotforge: `spotforge up` (pid {pid}) is running in {home}. Wait for it, or use another `--home`."


def test_a_command_that_was_killed_does_not_block_the_next(home: Path) -> None:
    with _held(home) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    assert (home / "lock.holder").exists(), "the killed one should have left its note, or nothing is shown"
    assert spotforge("down", "--home", home).returncode == 0


def test_ctrl_c_stops_what_was_started_and_exits_130(home: Path) -> None:
    with running("up", "--home", home, "--port-base", ports.free_base()) as starting:
        for line in starting.err:
            if "starting" in line:
                break
        starting.process.send_signal(signal.SIGINT)
        rest = starting.err.read()
        assert starting.process.wait() == 130
    assert "interrupted: what was started is stopped" in rest
    assert "Traceback" not in rest


def _package(folder: Path, code: str) -> None:
    (folder / "acme").mkdir()
    (folder / "acme" / "__init__.py").touch()
    (folder / "acme" / "model.py").write_text(code)


@contextmanager
def _held(home: Path) -> Iterator[int]:
    """Another process is in the middle of `spotforge up` in this folder; gives its pid."""
    code = "import sys, pathlib, stacks.local.lock as lock\n"
    code += "with lock.held(pathlib.Path(sys.argv[1]), 'up'):\n    print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert json.loads((home / "lock.holder").read_text())["pid"] == other.pid
        yield other.pid
