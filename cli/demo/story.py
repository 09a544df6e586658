"""The order of the acts, from an empty folder to the report."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.demo import acts, year
from cli.demo.scene import Scene
from stacks.errors import UserError


def play(console: Console, home: Path, *, began: float, port_base: int | None, report: Path, months: int) -> None:
    """Play the whole story on the stack in `home` and write the report. Raises UserError where the platform fails its part."""
    import time

    from stacks.local import stack

    console.print("\n[bold cyan]1. The local stack comes up[/]")
    started = time.monotonic()

    def told(part: str, word: str) -> None:
        console.print(f"   [dim]{time.monotonic() - began:6.1f} s[/]  [green]{part:<18}[/] {word}")

    outputs = stack.up(home, port_base=port_base, progress=told)
    scene = Scene(console, outputs, began)
    scene.act = 1
    scene.say("stack", f"every part has answered its probe after {time.monotonic() - started:.1f} s")
    try:
        scene.open_act(2, "Data arrives month by month; a damaged month is held back")
        acts.data_arrives(scene)
        scene.open_act(3, "Features, point in time, with the versions they came from")
        acts.features_are_built(scene)
        scene.open_act(4, "Training, as if on a spot node, is killed and goes on")
        acts.training_survives(scene)
        scene.open_act(5, "Judged, packaged, scored where it will serve, registered")
        acts.model_is_judged(scene)
        year.months_go_by(scene, months)
        _finale(scene, report)
    finally:
        scene.world.stop()


def _finale(scene: Scene, report: Path) -> None:
    from cli.demo import report as writer

    table = Table(title="What the months brought", title_justify="left", header_style="bold")
    for column in ("month", "requests", "failed", "monitoring says", "retraining", "in production at its end"):
        table.add_column(column)
    for row in scene.month_rows:
        table.add_row(row["month"], f"{row['requests']:,}", str(row["failed"]), row["cause"], row["action"], row["production"])
    scene.console.print()
    scene.console.print(table)
    path = writer.write(scene, report)
    outputs, tally = scene.outputs, scene.world.tally
    finding = scene.ledger.verify()
    scene.console.print(f"Ledger: {finding.records} records. {tally.sent:,} requests, {tally.failed} failed.")
    scene.console.print(f"Report: {path}", soft_wrap=True)
    uis = f"Dagster {outputs.orchestration.url}   MLflow {outputs.tracking.uri}   gateway {outputs.gateway.url}"
    scene.console.print(uis, soft_wrap=True)
    if finding.problems:
        raise UserError(f"the ledger does not hold: {finding.problems[0]}", "See `spotforge release verify`.")
    if tally.failed:
        raise UserError(f"{tally.failed} requests failed, such as: {tally.failures[0]}", "See `spotforge logs envoy`.")
    caught = year.bad_release_was_caught(scene)
    if caught is None:
        raise UserError("the bad release was not rolled back", "See `spotforge release history`.")
    scene.console.print(f"The bad release {caught} was caught in canary and rolled back, code and model together.")
