"""`spotforge down`: stop the local stack, and with --purge forget its state."""

import shutil
from pathlib import Path

import typer

from cli.console import HOME, home_of
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
    if not place.is_dir():
        if not purge:
            raise UserError(f"{place} is not a folder", "Run `spotforge down --purge` to remove it.")
        place.unlink()
        return
    with lock.held(place, "down"):
        ended = stack.down(place)
    typer.echo(f"Stopped {ended} processes.", err=True)
    if purge:
        shutil.rmtree(place)
        typer.echo(f"Deleted {place}.", err=True)
