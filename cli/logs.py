"""`spotforge logs PART`: what a part wrote."""

import os
import time
from collections import deque
from pathlib import Path
from typing import TextIO

import typer

from cli.console import HOME, home_of
from stacks.errors import UserError
from stacks.local import paths


def run(
    part: str = typer.Argument(help="A part's name, as `spotforge status` lists it."),
    lines: int = typer.Option(50, "--lines", "-n", min=0, help="How many of the last lines."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on printing what comes, until Ctrl-C."),
    home: Path | None = HOME,
) -> None:
    """Print the last lines of a part's log.

    Example: spotforge logs release-controller -f
    """
    path = paths.log(home_of(home), part)
    known = sorted(file.stem for file in path.parent.glob("*.log"))
    if part not in known:
        raise UserError(f"there is no log of {part!r}", f"Known parts: {', '.join(known) or 'none yet; run `spotforge up`'}.")
    wanted: int | None = lines
    while True:
        with path.open(errors="replace") as stream:
            for line in deque(stream, maxlen=wanted):
                typer.echo(line, nl=False)
            if not follow:
                return
            _follow(path, stream)
        wanted = None  # what took the old file's place is all new


def _follow(path: Path, stream: TextIO) -> None:
    """Print what comes; returns when the supervisor has begun another file, with nothing of the old one left."""
    while True:
        replaced = path.exists() and path.stat().st_ino != os.fstat(stream.fileno()).st_ino
        typer.echo(stream.read(), nl=False)
        if replaced:
            return
        time.sleep(0.2)  # a log file gives no other sign of a new line
