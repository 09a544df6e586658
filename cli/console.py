"""How the command shows things: tables for people, JSON for programs. No platform logic."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from stacks.local import paths

HOME = typer.Option(None, "--home", help="State folder [default: $SPOTFORGE_HOME or .spotforge in the checkout].")
JSON = typer.Option(False, "--json", help="Print JSON for a program.")


def home_of(home: Path | None) -> Path:
    return (home or paths.default_home()).absolute()


def emit(value: Any) -> None:
    """Print one JSON value."""
    typer.echo(json.dumps(value, indent=2, default=str))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; every cell is text already."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        # Half an address is of no use to anybody: a narrow terminal gets more lines.
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    Console().print(drawn)
