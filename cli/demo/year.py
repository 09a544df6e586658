"""The story's months: live traffic and late outcomes, a feed that fails, a bad model that somebody ships.

What happens before there is traffic is `acts`.
"""

from typing import Any

from rich.markup import escape

from cli.demo.scene import Scene
from cli.demo.telling import expect, tell_checks, tell_month
from cli.demo.watch import Run
from pipelines.monitoring.decisions import DECISION_TAG
from pipelines.release.record import Stage

FAULT_SHARE = 2
"""Every second request of the faulty month lacks the reading."""


def months_go_by(scene: Scene, months: int) -> None:
    """Live traffic and late outcomes, up to month number `months`; in one a feed fails, in one somebody ships a bad model."""
    model = scene.model
    partitions = model.partitions[model.min_partitions : months]
    faulty, bad, last = partitions[len(partitions) // 2], partitions[-1 - len(partitions) // 4], partitions[-1]
    for partition in partitions:
        _finish_training(scene)
        if partition == partitions[0]:
            scene.open_act(6, "The release: staging → shadow → canary → production, under live traffic")
        elif scene.act == 6:  # noqa: PLR2004 - the act before
            scene.open_act(7, "The months go on: outcomes arrive late, drift is told apart by cause")
        if partition == bad:
            _ship_bad(scene)
        before = _snapshot(scene)
        if partition == faulty:
            name = _fault_name(scene, partition)
            scene.world.fault = _feed_fault(name)
            scene.say("outside world", f"in {partition} a feed of the callers fails: {name} comes as null half of the time")
        _replay(scene, partition)
        scene.world.fault = None
        delivery = scene.deliver(partition, model.deliver(partition))
        if partition != last:
            scene.world.prepare(partitions[partitions.index(partition) + 1])
        expect(scene, scene.processed(delivery))
        tell_month(scene, partition)
        _note_month(scene, partition, before)
        if partition == bad != last:
            scene.open_act(7, "The months go on")
    _finish_training(scene)
    if scene.ledger.in_flight():
        # A release begun in the last month needs callers to be judged by: the month is flown once more.
        _replay(scene, partitions[-1])


def _replay(scene: Scene, partition: str) -> None:
    world = scene.world
    sent, failed = world.tally.sent, world.tally.failed
    scene.narrate()
    world.start(partition)
    wanted = scene.ledger.in_flight()
    scene.wait(f"{partition} flies" + (f", {wanted} is judged" if wanted else ""), lambda: None if world.busy else True)
    world.wait()
    world.settle()
    scene.say("gateway", f"{partition}: {world.tally.sent - sent:,} requests, [bold]{world.tally.failed - failed} failed[/]")


def _ship_bad(scene: Scene) -> None:
    scene.open_act(8, "A bad release: fine offline, worse on what flies now")
    month = scene.model.partitions[1]
    scene.say("outside world", f"an engineer trains on {month} alone and holds out random rows; it looks fine offline")
    config = {"partitions": [month], "split": "random", "reason": f"quick win on {month}"}
    identity = scene.dagster.launch("train_and_release", {"ops": {"training_set": {"config": config}}})

    def look() -> Run | None:
        return next((run for run in scene.training_runs() if run.id == identity and run.done), None)

    expect(scene, scene.wait("train_and_release runs from the UI's launchpad", look))
    tell_checks(scene, scene.record("evaluation") or {})
    scene.bad_release = (scene.record("release_candidate") or {})["release"]


def bad_release_was_caught(scene: Scene) -> str | None:
    """The release that somebody shipped by hand, if it was rolled back in canary."""
    shipped = scene.bad_release
    return shipped if shipped and scene.ledger.state(shipped) is Stage.ROLLED_BACK else None


def _finish_training(scene: Scene) -> None:
    """A training that was decided on at the end of a month is waited for: simulated time stands still meanwhile."""
    decided = {one["id"] for one in scene.decisions() if one["action"] != "none"}

    def over() -> list[Run] | None:
        runs = [run for run in scene.training_runs() if run.tags.get(DECISION_TAG) in decided]
        return runs if len(runs) == len(decided) and all(run.done for run in runs) else None

    runs = scene.wait("a training that started by itself", over)
    if runs and runs[0].status != "SUCCESS":
        scene.say("dagster", f"[yellow]the new model stopped at a gate[/]: {escape(scene.dagster.why_failed(runs[0].id))}")


def _note_month(scene: Scene, partition: str, before: dict[str, int]) -> None:
    triage, decision = scene.record("triage", partition) or {}, scene.record("retraining_decision", partition) or {}
    after = _snapshot(scene)
    scene.month_rows.append(
        {
            "month": partition,
            "requests": after["sent"] - before["sent"],
            "failed": after["failed"] - before["failed"],
            "cause": triage.get("cause", "-"),
            "action": decision.get("action", "-"),
            "production": scene.ledger.production() or "-",
        }
    )


def _snapshot(scene: Scene) -> dict[str, int]:
    return {"sent": scene.world.tally.sent, "failed": scene.world.tally.failed}


def _fault_name(scene: Scene, partition: str) -> str:
    """A number that must be there; one that comes from another feed than the callers' own, where there is such a feed."""
    model = scene.model
    needed = [feature.name for feature in model.features if feature.kind == "numeric" and not feature.nullable]
    frames = model.deliver(partition)
    others = {column for source in model.sources[1:] for column in frames[source].columns}
    return next((name for name in needed if name in others), needed[0])


def _feed_fault(name: str) -> Any:
    count = 0

    def fault(features: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        return features | ({name: None} if count % FAULT_SHARE == 0 else {})

    return fault
