"""`spotforge logs PART`: what a part wrote."""

import time
from collections import deque
from pathlib import Path

import typer

from cli.console import HOME, home_of
from stacks.errors import UserError
from stacks.local import paths


def run(
    part: str = typer.Argument(help="A part's name, as `spotforge status` lists it."),
    lines: int = typer.Option(50, "--lines", "-n", help="How many of the last lines."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on printing what comes."),
    home: Path | None = HOME,
) -> None:
    """Print the last lines of a part's log.

    Example: spotforge logs release-controller -f
    """
    path = paths.log(home_of(home), part)
    if not path.exists():
        known = sorted(file.stem for file in path.parent.glob("*.log"))
        raise UserError(f"there is no log of {part!r}", f"Known parts: {', '.join(known) or 'none yet; run `spotforge up`'}.")
    with path.open(errors="replace") as stream:
        for line in deque(stream, maxlen=lines):
            typer.echo(line, nl=False)
        while follow:
            line = stream.readline()
            if line:
                typer.echo(line, nl=False)
            else:
                time.sleep(0.2)  # a log file gives no other sign of a new line
