"""`spotforge demo`: the whole loop on this machine. Starts the stack, plays the story, shows what came of it, cleans up."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli import preflight
from cli.console import HOME, PORT_BASE, home_of
from cli.preflight import MARK
from stacks.errors import UserError
from stacks.local.lock import HOLDER, LOCK

if TYPE_CHECKING:
    from rich.console import Console

REPORT = typer.Option(
    Path("spotforge-demo.html"), "--report", dir_okay=False, writable=True, help="Where to write the HTML report."
)
YEARS = {"full": 12, "short": 6}
"""How many of the model's months are played."""


def run(
    year: str = typer.Option("full", "--year", help="`full` plays twelve months, `short` the first six."),
    keep: bool = typer.Option(False, "--keep", help="Leave the stack up afterwards, to look around in the UIs."),
    report: Path = REPORT,
    port_base: int | None = PORT_BASE,
    home: Path | None = HOME,
) -> None:
    """Run the whole MLOps loop on this machine: real parts, real flights of 2013, no account.

    Data arrives and is guarded, a model is trained through a reclaim, judged, released through shadow and canary, watched,
    retrained; a bad release is caught and rolled back. Ends with a table, an HTML report and the addresses of the UIs.

    Example: spotforge demo --year short --keep
    """
    from rich.console import Console

    from cli.demo import story
    from stacks.local import lock, stack

    if year not in YEARS:
        raise UserError(f"--year {year!r} is not known", f"Choose one of {', '.join(YEARS)}.")
    place, console, began = home_of(home), Console(), time.monotonic()
    preflight.model(None)
    _claim(place)
    with lock.held(place, "demo"):
        _clear(place, console)
        (place / MARK).touch()
        try:
            story.play(console, place, began=began, port_base=port_base, report=report, months=YEARS[year])
        finally:
            if keep:
                console.print("The stack stays up; `spotforge status` shows it, `spotforge down` stops it.")
            else:
                with console.status("stopping the stack …"):
                    ended = stack.down(place)
                console.print(f"Stopped {ended} processes. Run with --keep to look around in the UIs.")


def _claim(place: Path) -> None:
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is not a folder", "Run `spotforge down --purge`, or name another place with `--home`.")
    others = [path.name for path in place.iterdir() if path.name not in {LOCK, HOLDER}] if place.exists() else []
    if others and not (place / MARK).exists():
        raise UserError(
            f"{place} holds a stack that the demo did not make",
            "Run `spotforge down --purge`, or name another place with `--home`.",
        )
    place.mkdir(mode=0o700, parents=True, exist_ok=True)


def _clear(place: Path, console: "Console") -> None:
    """An earlier demo's state is not gone on with: the story starts clean, and says so."""
    from stacks.local import stack

    if not (place / MARK).exists():
        return
    with console.status(f"clearing what an earlier demo left in {place} …"):
        ended = stack.down(place)
        for path in place.iterdir():
            if path.name in {LOCK, HOLDER}:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    console.print(f"An earlier demo's state was in {place}: {ended} of its processes ended, starting clean.")
