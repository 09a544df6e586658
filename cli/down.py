"""`spotforge down`: stop the local stack, and with --purge forget its state."""

import shutil
from pathlib import Path

import typer

from cli.console import HOME, home_of
from cli.preflight import is_state_folder
from stacks.errors import UserError


def run(home: Path | None = HOME, purge: bool = typer.Option(False, "--purge", help="Delete the state folder, too.")) -> None:
    """Stop every process of the local stack, strays of a killed run too.

    Example: spotforge down --purge
    """
    from stacks.local import lock, stack

    place = home_of(home)
    if not place.exists():
        typer.echo(f"Nothing to stop: {place} does not exist.", err=True)
        return
    if not place.is_dir() or not is_state_folder(place):
        raise UserError(f"{place} is not a state folder", "Name one with `--home`; if it was one, remove it by hand.")
    with lock.held(place, "down"):
        ended = stack.down(place)
        typer.echo(f"Stopped {ended} processes.", err=True)
        if purge:
            shutil.rmtree(place.resolve())
            if place.is_symlink():
                place.unlink()
            typer.echo(f"Deleted {place}.", err=True)
