"""How the command shows things: tables for people, JSON for programs. No platform logic."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from stacks.local import paths

HOME = typer.Option(None, "--home", show_default="$SPOTFORGE_HOME, or .spotforge in the checkout", help="State folder.")
PORT_BASE = typer.Option(None, "--port-base", show_default="21300, or as before", help="First of the ports to use.")
JSON = typer.Option(False, "--json", help="Print JSON for a program.")
PIPE_WIDTH = 200
"""Columns where there is no terminal: `grep` should find a row with all that it says."""


def home_of(home: Path | None) -> Path:
    return (home or paths.default_home()).absolute()


def emit(value: Any) -> None:
    """Print one JSON value."""
    typer.echo(json.dumps(value, indent=2, default=str))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. Every cell is text already, and shown as it is: what people wrote is no markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in columns:
        # Half an address is of no use to anybody: a narrow terminal gets more lines.
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    console.print(drawn)
