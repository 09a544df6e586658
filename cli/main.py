"""The `spotforge` command: names its subcommands and turns errors into one line.

Subcommand modules import only what `--help` needs; the rest is imported where it is used.
"""

import errno
import os
import signal
import sys
from types import FrameType

import typer

from cli import down, logs, release, runbook, status, up
from cli.demo import command as demo
from stacks.errors import UserError
from stacks.local.ports import past_proxies

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The ML platform that survives spot: the whole loop, one command.\n\nExample: spotforge demo --year short",
)
for module in (demo, up, status, logs, down):
    app.command(module.__name__.split(".")[-1] if module is not demo else "demo")(module.run)
app.add_typer(release.app, name="release", help="List, show, verify and roll back releases.\n\nExample: spotforge release list")
app.add_typer(
    runbook.app,
    name="runbook",
    help="Diagnose an alert and, with --apply, mitigate it.\n\nExample: spotforge runbook serving-errors",
)


@app.callback()
def _options(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.")) -> None:
    os.environ["SPOTFORGE_DEBUG"] = "1" if debug else ""


def main() -> None:
    """Entry point: exit 1 on an error, said in one line; 2 on misuse, 130 on Ctrl-C; a traceback only with --debug."""
    signal.signal(signal.SIGINT, _interrupted)
    os.environ.update(past_proxies(os.environ))
    try:
        app()
    except Exception as error:
        if os.environ.get("SPOTFORGE_DEBUG"):
            raise
        print(f"spotforge: {' '.join(_in_words(error).split())}", file=sys.stderr)  # noqa: T201 - the one line for people
        sys.exit(1)


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    # SystemExit runs every `finally` on the way out, and no library takes it for an error of its own.
    sys.exit(130)


def _in_words(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}. {'Free some space' if full else 'Mend that'}, then run the command again."
    # Nobody foresaw this one, so it is ours to mend: whoever meets it needs the way to tell us.
    return f"unexpected {type(error).__name__}: {error}. Run it again as `spotforge --debug …`, and report what it shows."
