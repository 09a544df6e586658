"""The demo killed, doubled and interrupted, with all its parts real: it starts clean, says so, and leaves nothing behind."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipelines.tables import Tables
from stacks.local import stack
from stacks.local.ports import free_base
from tests.cli.shell import SPOTFORGE, environment, refusal, spotforge


class Demo:
    """A demo in a process of its own; what it says goes to a file, so that it never waits for a reader."""

    def __init__(self, home: Path, port_base: int, said: Path) -> None:
        self.said = said
        arguments = ["demo", "--home", home, "--port-base", port_base, "--report", home.parent / "report.html"]
        with said.open("w") as out:
            self.process = subprocess.Popen(
                [SPOTFORGE, *map(str, arguments)], env=environment(COLUMNS="300"), stdout=out, stderr=out
            )

    def wait_for(self, text: str, within_s: float = 120) -> None:
        deadline = time.monotonic() + within_s
        while text not in self.said.read_text():
            assert self.process.poll() is None, f"it ended before it said {text!r}: {self.said.read_text()}"
            assert time.monotonic() < deadline, f"it never said {text!r}: {self.said.read_text()}"
            time.sleep(0.1)

    def end(self, number: signal.Signals, within_s: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(within_s)


@pytest.mark.timeout(300)
def test_a_killed_demo_starts_clean_a_second_is_refused_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    home, base = tmp_path / "home", free_base()
    try:
        first = Demo(home, base, tmp_path / "first")
        first.wait_for("landing zone")
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        left = stack.stragglers(home)
        assert left, "the parts outlive the command: that is what the next run has to deal with"

        second = Demo(home, base, tmp_path / "second")
        second.wait_for(f"{len(left)} of its processes ended, starting clean.")
        second.wait_for("landing zone")
        line = refusal(spotforge("demo", "--home", home))
        assert f"`spotforge demo` (pid {second.process.pid}) is running in {home}" in line, "who, and where"
        second.wait_for("held back")
        assert second.end(signal.SIGINT) == 130
        assert "Traceback" not in second.said.read_text()
        assert stack.stragglers(home) == [], "no process stays"

        tables = Tables(stack.up(home, parts=("seaweedfs",)))
        for name in ("bronze/flights", "silver/flights", "features"):
            table = tables.scan(name)
            assert table is None or table.collect().height, f"{name} can be read to its last row"
        assert not (home.parent / "report.html").exists(), "no half a report"
    finally:
        stack.down(home)


def test_what_another_program_left_in_the_folder_is_neither_used_nor_cleared(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "a stack that the demo did not make" in refusal(spotforge("demo", "--home", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_unknown_year_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    assert "Choose one of full, short." in refusal(spotforge("demo", "--year", "2014", "--home", tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_a_model_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    line = refusal(spotforge("demo", "--home", tmp_path / "home", SPOTFORGE_MODEL="no_such_model"))
    assert "no_such_model" in line
    assert not (tmp_path / "home").exists()
