"""What is told of a month, and what the demo insists on. Used by the acts; it starts nothing."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from cli.demo.scene import Scene
from cli.demo.watch import Run
from stacks.errors import UserError


def tell_month(scene: Scene, partition: str) -> None:
    """What the platform made of a month that has been processed."""
    built = scene.record("features", partition)
    if built:
        view = f"view {built['view']}, features table version {built['versions']['features']}"
        scene.say("features", f"{partition}: {built['rows']:,} rows, {built['labelled']:,} with outcome; {view}")
    triage = scene.record("triage", partition)
    if triage and triage["served"]:
        scene.say("monitoring", f"{partition}: [bold]{triage['cause']}[/]: {first(triage.get('reasons'))}")
    decision = scene.record("retraining_decision", partition)
    if decision and decision["action"] != "none":
        scene.say("retraining", f"[bold]{decision['action']}[/] by itself: {first(decision['reasons'])}")
    elif decision and triage and triage["served"]:
        scene.say("retraining", f"none: {first(decision['reasons'])}")


def tell_checks(scene: Scene, evaluation: Mapping[str, Any]) -> None:
    """The guardrails of an `evaluation` record, each with its reason."""
    for check in evaluation["checks"]:
        scene.say("validation", f"{check['name']}: {escape(check['reason'])}")


def expect(scene: Scene, run: Run) -> None:
    """Raises UserError, with what the run said, unless it succeeded."""
    if run.status != "SUCCESS":
        raise UserError(
            f"run {run.id} of {run.job} ended as {run.status}: {scene.dagster.why_failed(run.id)}", "See the Dagster UI."
        )


def first(reasons: Any) -> str:
    """The first of several reasons, as text that is no markup."""
    return escape(str(reasons[0]) if isinstance(reasons, list) and reasons else str(reasons or "no reason given"))
