"""`spotforge status`: every part of the local stack as it is now."""

from dataclasses import asdict
from pathlib import Path

import typer

from cli.console import HOME, JSON, emit, home_of, table

DEGRADED = 3
"""Exit code when a part is not running."""


def run(home: Path | None = HOME, as_json: bool = JSON) -> None:
    """Show every part: state, address, uptime, memory. Exits 3 when one is not running.

    Example: spotforge status --json | jq '.[] | select(.state != "RUNNING")'
    """
    from stacks.local import stack

    rows = stack.status(home_of(home))
    if as_json:
        emit([asdict(row) for row in rows])
    else:
        cells = [
            (row.name, row.state, str(row.pid or "-"), row.address, f"{row.uptime:.0f} s", f"{row.memory / 2**20:.0f} MiB")
            for row in rows
        ]
        total = sum(row.memory for row in rows) / 2**20
        table(f"local stack in {home_of(home)}, {total:.0f} MiB", ("part", "state", "pid", "address", "up", "memory"), cells)
    if any(row.state != "RUNNING" for row in rows):
        raise typer.Exit(DEGRADED)
