"""`spotforge release`: what serves and why, and the way back. It writes ledger records; the release controller acts on them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.console import HOME, JSON, emit, home_of, table

if TYPE_CHECKING:
    from pipelines.release.ledger import Ledger
    from stacks.outputs import StackOutputs

app = typer.Typer(no_args_is_help=True, add_completion=False)
OUTPUTS = typer.Option(None, "--outputs", show_default="the local stack's", help="StackOutputs JSON of another stack.")
ID = typer.Argument(help="Release id, or its number.")
RELEASE = typer.Argument(None, help="One release only.")
TO = typer.Option(None, "--to", show_default="the one before", help="Release (id or number) to put back into production.")
REASON = typer.Option("asked for by an operator", "--reason", help="Why; it stands in the ledger.")
AT = typer.Option(None, "--at", metavar="WHEN", help="What served at this moment? ISO 8601, UTC unless it says otherwise.")
UNSOUND = 4
"""Exit code of `verify` when the ledger does not hold."""


@app.command("list")
def show_all(home: Path | None = HOME, outputs: Path | None = OUTPUTS, as_json: bool = JSON) -> None:
    """Every release with its stage, newest last.

    Example: spotforge release list
    """
    ledger = _ledger(_outputs(home, outputs))
    state = ledger.replay()
    first = {record.release: record for record in reversed(ledger.records())}
    rows: list[dict[str, Any]] = [
        {
            "release": name,
            "stage": str(standing.stage),
            "weight": standing.weight,
            "since": standing.since.isoformat(timespec="seconds"),
            "model": first[name].evidence.get("model"),
            "reason": first[name].why,
            "serves": name == state.production,
            "rollback_target": name == state.previous,
        }
        for name, standing in state.standings.items()
    ]
    if as_json:
        emit(rows)
        return
    marks = {True: "●", False: ""}
    cells = [
        (
            marks[row["serves"]] + ("↩" if row["rollback_target"] else ""),
            row["release"],
            row["stage"] + (f" {row['weight']} %" if row["weight"] else ""),
            _when(row["since"]),
            str(row["model"] or "-"),
            row["reason"],
        )
        for row in rows
    ]
    table("releases (● serves, ↩ a rollback puts it back)", ("", "release", "stage", "since (UTC)", "model", "reason"), cells)


@app.command()
def show(release: str = ID, home: Path | None = HOME, outputs: Path | None = OUTPUTS, as_json: bool = JSON) -> None:
    """One release: what it is made of, and its way through the stages with the evidence.

    Example: spotforge release show 2
    """
    from pipelines.release.record import load

    ledger = _ledger(_outputs(home, outputs))
    identity = _identity(ledger, release)
    record = load(ledger.objects, identity)
    moves = [
        move.model_dump(mode="json", by_alias=True) for move in ledger.records() if identity in (move.release, move.restores)
    ]
    if as_json:
        emit({"release": record.model_dump(mode="json"), "records": moves})
        return
    parts: list[tuple[str, str]] = [
        ("id", record.id),
        ("created", f"{record.created_at:%Y-%m-%d %H:%M:%S} by {record.created_by}: {record.reason}"),
        ("code", f"{record.code.git_sha[:12]}, image {record.code.image[:19]}"),
        ("model", f"{record.model.name} {record.model.version}, {record.model.digest[:12]} at {record.model.package}"),
        ("data", f"{', '.join(record.data.partitions)}; {record.data.training_set}; view {record.data.feature_view}"),
        ("tables", ", ".join(f"{name} v{version}" for name, version in record.data.tables.items())),
        ("serving", ", ".join(f"{key} {value}" for key, value in record.serving.model_dump().items())),
    ]
    table(f"release {identity}", ("", ""), parts)
    _show_moves(moves)


@app.command()
def history(
    release: str | None = RELEASE,
    at: str | None = AT,
    home: Path | None = HOME,
    outputs: Path | None = OUTPUTS,
    as_json: bool = JSON,
) -> None:
    """The ledger, oldest first; with --at, what served at that moment.

    Example: spotforge release history --at 2026-01-31T12:00
    """
    from pipelines.release.chain import serving_at

    moment = None if at is None else _moment(at)
    ledger = _ledger(_outputs(home, outputs))
    if moment is not None:
        served = serving_at(ledger.records(), moment)
        shown = ", ".join(f"{name} {share} %" for name, share in served.items()) or "nothing"
        emit({"at": moment.isoformat(), "serving": served}) if as_json else typer.echo(f"{moment.isoformat()}: {shown}")
        return
    wanted = None if release is None else _identity(ledger, release)
    moves = [
        move.model_dump(mode="json", by_alias=True)
        for move in ledger.records()
        if wanted is None or wanted in (move.release, move.restores)
    ]
    if as_json:
        emit(moves)
    else:
        _show_moves(moves)


@app.command()
def verify(home: Path | None = HOME, outputs: Path | None = OUTPUTS, as_json: bool = JSON) -> None:
    """Walk the ledger: the chain, the moves, the signed heads, the object versions. Exits 4 when it does not hold.

    Example: spotforge release verify
    """
    found = _ledger(_outputs(home, outputs)).verify()
    if as_json:
        emit({"records": found.records, "head": found.head, "problems": found.problems})
    else:
        typer.echo(
            f"{found.records} records, head {found.head[:12]}: " + ("they hold" if not found.problems else "they do NOT hold")
        )
        for problem in found.problems:
            typer.echo(f"  ✗ {problem}")
    if found.problems:
        raise typer.Exit(UNSOUND)


@app.command()
def rollback(
    to: str | None = TO,
    reason: str = REASON,
    home: Path | None = HOME,
    outputs: Path | None = OUTPUTS,
    as_json: bool = JSON,
) -> None:
    """Take the newest release out. In a canary: the canary; else production, for the one before. --to says which one serves.

    Example: spotforge release rollback --reason "complaints from JFK"
    """
    from pipelines.release.chain import serving_at
    from pipelines.release.rollback import roll_back

    stack = _outputs(home, outputs)
    ledger = _ledger(stack)
    done = roll_back(ledger, to=None if to is None else _identity(ledger, to), who=_who(), why=reason)
    serves, acts = ledger.production(), _controller_acts(stack)
    serving = serving_at(ledger.records(), done.when)
    if as_json:
        emit({"record": done.seq, "rolled_back": done.release, "serving": serving, "controller_acts": acts})
        return
    when = "within a second." if acts is not False else "once the release controller runs, and it does not. Run `spotforge up`."
    flying = next((name for name in serving if name != serves), None)
    typer.echo(f"ledger record {done.seq}: {done.release} is {done.to}. {serves} takes all callers {when}")
    if flying:
        typer.echo(f"The canary {flying} ends with it: it was being compared with {done.release}.")


@app.command("reject")
def reject_one(
    release: str = ID, reason: str = REASON, home: Path | None = HOME, outputs: Path | None = OUTPUTS, as_json: bool = JSON
) -> None:
    """End a release that waits, or stands in staging or shadow. No caller notices.

    Example: spotforge release reject 7 --reason "trained on the wrong months"
    """
    from pipelines.release.rollback import reject

    ledger = _ledger(_outputs(home, outputs))
    done = reject(ledger, _identity(ledger, release), who=_who(), why=reason)
    if as_json:
        emit({"record": done.seq, "rejected": done.release})
    else:
        typer.echo(f"ledger record {done.seq}: {done.release} is rejected.")


def _show_moves(moves: list[dict[str, Any]]) -> None:
    cells = [
        (
            str(move["seq"]),
            _when(move["when"]),
            move["release"],
            f"{move['from'] or '-'} → {move['to']}" + (f" {move['weight']} %" if move["weight"] else ""),
            move["who"],
            move["why"] + (f" ({move['restores']} serves again)" if move["restores"] else ""),
        )
        for move in moves
    ]
    table("ledger", ("", "when (UTC)", "release", "move", "who", "why"), cells)


def _outputs(home: Path | None, given: Path | None) -> "StackOutputs":
    from stacks.local import paths
    from stacks.outputs import StackOutputs

    return StackOutputs.load(given or paths.outputs(home_of(home)))


def _ledger(outputs: "StackOutputs") -> "Ledger":
    from pipelines.release.ledger import Ledger

    return Ledger.of(outputs)


def _identity(ledger: "Ledger", given: str) -> str:
    """The full id for an id or a number, as people type them."""
    from stacks.errors import UserError

    known = list(ledger.replay().standings)
    number = given.removeprefix("r").lstrip("0")
    found = [name for name in known if given == name or (number and number == _number(name))]
    if len(found) != 1:
        raise UserError(f"there is no release {given!r}", "See `spotforge release list`.")
    return found[0]


def _number(identity: str) -> str:
    return identity.removeprefix("r").partition("-")[0].lstrip("0")


def _controller_acts(outputs: "StackOutputs") -> bool | None:
    """Whether the controller has shown itself just now; None where only the cluster could tell."""
    from stacks.local import probes

    return probes.fresh(outputs.state_dir / "controller.json") if outputs.state_dir else None


def _moment(given: str) -> datetime:
    """A moment as the ledger prints it (UTC), or with an offset of its own."""
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise typer.BadParameter(f"{given!r} is no moment; write it as 2026-01-31T12:00.", param_hint="--at") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _when(stamp: str) -> str:
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _who() -> str:
    import getpass

    try:
        return f"operator {getpass.getuser()}"
    except (KeyError, OSError):
        return "operator"
