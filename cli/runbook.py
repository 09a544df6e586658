"""`spotforge runbook`: every alert's runbook as a command. Diagnoses and shows the plan; only --apply acts."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.console import HOME, JSON, emit, home_of, table
from runbooks import catalog
from runbooks.model import EXIT_CODES, Diagnosis, Step

if TYPE_CHECKING:
    from stacks.outputs import StackOutputs

app = typer.Typer(no_args_is_help=True, add_completion=False)
APPLY = typer.Option(False, "--apply", help="Carry the plan out; without it nothing is changed.")
WINDOW = typer.Option(None, "--window", min=0.1, help="Seconds to watch before judging.")
MARKS = {True: "✗", False: "✓", None: "?"}


@app.command("list")
def show(as_json: bool = JSON) -> None:
    """Every runbook with its alert.

    Example: spotforge runbook list
    """
    found = catalog.find()
    if as_json:
        emit([{"name": r.name, "alert": r.alert.name, "severity": r.alert.severity, "page": r.link} for r in found])
        return
    rows = [(r.name, r.alert.name, r.alert.severity, r.link) for r in found]
    table("runbooks", ("runbook", "alert", "severity", "page"), rows)


def render(runbook: catalog.Runbook, diagnosis: Diagnosis, steps: tuple[Step, ...], *, apply: bool = False) -> str:
    """What a person reads: verdict, findings, plan, next step. The page's sample is made by it."""
    about = f": {diagnosis.cause}" if diagnosis.cause else ""
    subject = f" ({diagnosis.subject})" if diagnosis.subject else ""
    lines = [f"{runbook.alert.name}: {diagnosis.verdict}{about}{subject}"]
    lines += [f"  {MARKS[finding.bad]} {finding.says}" for finding in diagnosis.findings]
    if steps:
        lines.append("plan:")
        lines += [f"  {number}. {step.say} (undo: {step.undo})" for number, step in enumerate(steps, 1)]
    if steps and not apply:
        lines.append(f"Nothing was changed. To carry the plan out: {runbook.command} --apply")
    lines.append(f"next: {diagnosis.next_step}")
    return "\n".join(lines)


def as_data(runbook: catalog.Runbook, diagnosis: Diagnosis, steps: tuple[Step, ...], done: list[str]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "runbook": runbook.name,
        "alert": runbook.alert.name,
        "verdict": str(diagnosis.verdict),
        "cause": diagnosis.cause,
        "subject": diagnosis.subject,
        "findings": [{"says": finding.says, "bad": finding.bad} for finding in diagnosis.findings],
        "plan": [{"say": step.say, "undo": step.undo} for step in steps],
        "done": done,
        "next": diagnosis.next_step,
    }


def carry_out(
    runbook: catalog.Runbook, outputs: "StackOutputs", *, apply: bool, as_json: bool, window: float | None = None
) -> int:
    """Diagnose, show the plan, and with `apply` do it. Returns the exit code of the diagnosis."""
    diagnose = importlib.import_module(f"runbooks.{runbook.package}.diagnose")
    mitigate = importlib.import_module(f"runbooks.{runbook.package}.mitigate")
    diagnosis: Diagnosis = diagnose.diagnose(outputs, **({} if window is None else {"window_s": window}))
    steps: tuple[Step, ...] = mitigate.plan(outputs, diagnosis)
    if not as_json:
        typer.echo(render(runbook, diagnosis, steps, apply=apply))
    done = []
    for step in steps if apply else ():
        done.append(step.run())
        if not as_json:
            typer.echo(f"done: {done[-1]}")
    if as_json:
        emit(as_data(runbook, diagnosis, steps, done))
    return EXIT_CODES[diagnosis.verdict]


def _add(runbook: catalog.Runbook) -> None:
    def command(apply: bool = APPLY, window: float | None = WINDOW, home: Path | None = HOME, as_json: bool = JSON) -> None:
        from stacks.local import paths
        from stacks.outputs import StackOutputs

        outputs = StackOutputs.load(paths.outputs(home_of(home)))
        raise typer.Exit(carry_out(runbook, outputs, apply=apply, as_json=as_json, window=window))

    command.__doc__ = (
        f"{runbook.alert.name}: diagnose, show the plan, and with --apply carry it out.\n\n"
        f"Exits 0 healthy, 10 confirmed, 20 cannot tell. Page: {runbook.link}\n\nExample: {runbook.command}"
    )
    app.command(runbook.name)(command)


for _runbook in catalog.find():
    _add(_runbook)
