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
    if not place.is_dir() or not _ours(place):
        # A slip of the pen in --home must not delete a home directory, nor sow lock files in it.
        raise UserError(f"{place} is not a state folder", "Name one with `--home`; if it was one, remove it by hand.")
    with lock.held(place, "down"):
        ended = stack.down(place)
        typer.echo(f"Stopped {ended} processes.", err=True)
        if purge:
            shutil.rmtree(place)
            typer.echo(f"Deleted {place}.", err=True)


def _ours(place: Path) -> bool:
    """Whether this folder holds nothing, or anything that only a stack writes."""
    names = {path.name for path in place.iterdir()}
    return not names or bool(names & {"ports.json", "outputs.json", "lock", "seaweedfs.json"})
