"""The command as a person runs it: installed, in a process of its own; and in this process, where only its words matter."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import IO

from typer.testing import CliRunner

from cli import main
from stacks.errors import UserError
from stacks.local.paths import PROJECT

PATIENCE_S = 60.0
SPOTFORGE = str(Path(sys.executable).parent / "spotforge")


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would steer the command to another stack, or say how wide a terminal is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPOTFORGE_") and name != "COLUMNS"}
    return kept | more


def spotforge(*arguments: object, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end; `more` is added to its environment."""
    return subprocess.run(
        [SPOTFORGE, *map(str, arguments)],
        env=environment(**more),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@dataclass(frozen=True)
class Running:
    """The command under way, with what it prints."""

    process: "subprocess.Popen[str]"
    out: IO[str]
    err: IO[str]


@contextmanager
def running(*arguments: object) -> Iterator[Running]:
    """Start it; it is ended in any case, or a test that fails would wait for it forever."""
    command = [SPOTFORGE, *map(str, arguments)]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment()) as process:
        # A reader that waits in vain is woken by the end of the stream.
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            yield Running(process, process.stdout, process.stderr)
        finally:
            watchdog.cancel()
            process.kill()


def refusal(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """The one line of a command that refused, after what every refusal must show."""
    assert done.returncode == code, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, "a traceback is for --debug only"
    lines = done.stderr.splitlines()
    assert len(lines) == 1, f"not one line: {done.stderr!r}"
    assert lines[0].startswith("spotforge: "), "who speaks must be said"
    assert done.stdout == "", "a program that reads stdout must not read half an answer"
    return lines[0]


def refused(*arguments: object) -> str:
    """What the command says when it refuses, without a process: a tenth of the time. How it is shown is `refusal`'s."""
    done = CliRunner().invoke(main.app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, UserError), f"it did not refuse: {done.exception!r} {done.output}"
    assert done.stdout == "", "a program that reads stdout must not read half an answer"
    return str(done.exception)
