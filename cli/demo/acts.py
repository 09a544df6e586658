"""The story, act by act: what the outside world does, and what is seen of the platform's own doing.

An act delivers data, sends traffic, kills a process or starts a job from the UI; everything else the platform does by itself.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import polars as pl

from cli.demo.scene import Scene
from cli.demo.watch import Run
from pipelines.data.faults import damage
from pipelines.release.record import Stage
from stacks.errors import UserError

FIRST_MONTHS = 3
DAMAGED = 1
"""Index of the month that first arrives damaged."""
KILL_AFTER = 2
"""Committed segments after which the worker's node is reclaimed."""


def data_arrives(scene: Scene) -> None:
    """Months arrive; one of them damaged, held back, and then corrected."""
    model = scene.model
    months = model.partitions[:FIRST_MONTHS]
    deliveries = [scene.deliver(months[0], model.deliver(months[0]))]
    sick = dict(model.deliver(months[DAMAGED]))
    fact = model.sources[0]
    numeric, categorical = _columns(model, sick[fact])
    sick[fact] = damage(sick[fact], numeric=numeric, categorical=categorical, entity=model.entity)
    bad = scene.deliver(months[DAMAGED], sick)
    scene.say("outside world", f"… and {months[DAMAGED]} is damaged on its way")
    for delivery in deliveries:
        _expect(scene, scene.processed(delivery))
        _tell_month(scene, delivery.partition)
    run = scene.processed(bad)
    held = scene.record("validated", months[DAMAGED])
    if run.status != "FAILURE" or not held or not held["held"]:
        raise UserError(f"{months[DAMAGED]} was damaged and not held back (run {run.id})", "See the Dagster UI.")
    reasons = ", ".join(f"{count:,} × {reason}" for reason, count in next(iter(held["reasons"].values())).items())
    scene.say("data contract", f"[yellow]{months[DAMAGED]} held back[/]: {held['held'][0]}")
    scene.say("quarantine", f"reasons: {reasons}; all {held['rows'][fact]:,} rows are kept in bronze/{fact}")
    good = scene.deliver(months[DAMAGED], model.deliver(months[DAMAGED]))
    _expect(scene, scene.processed(good))
    _tell_month(scene, months[DAMAGED])


def features_are_built(scene: Scene) -> None:
    """The last month before training; the first release, a plain baseline, serves by then."""
    scene.wait("the baseline serves until there is a model", scene.production, patience=120)
    partition = scene.model.partitions[FIRST_MONTHS - 1]
    _expect(scene, scene.processed(scene.deliver(partition, scene.model.deliver(partition))))
    _tell_month(scene, partition)


def training_survives(scene: Scene) -> None:
    """Training starts by itself; its node is reclaimed without notice; it goes on from its last commit."""
    started = scene.wait("the first training starts by itself", lambda: _worker(scene))
    scene.say("training", f"worker {started['name']} runs as a process of its own (pid {started['pid']})")
    prefix = f"checkpoints/{started['work']}/commits/"

    def enough() -> bool | None:
        return len(list(scene.artifacts.list(prefix))) >= KILL_AFTER or None

    scene.wait(f"{KILL_AFTER} segments are committed", enough)
    try:
        os.kill(started["pid"], signal.SIGKILL)
    except ProcessLookupError as error:
        raise UserError("the training ended before its node could be reclaimed", "Run the demo again.") from error
    scene.say("spot market", f"[yellow]the node is reclaimed[/]: SIGKILL to pid {started['pid']}")
    again = scene.wait("the training goes on elsewhere", lambda: _worker(scene, after=started["epoch"]))
    scene.say("training", f"{again['name']} goes on from the last committed checkpoint")
    run = scene.wait("training, validation, packaging", lambda: _finished(scene, "challenger"))
    _expect(scene, run)
    trained = scene.record("trained_model") or {}
    scene.reclaimed_training = trained["events"]
    kinds = [event["kind"] for event in trained["events"]]
    scene.say(
        "training", f"{kinds.count('committed')} segments, {kinds.count('preempted')} preemption, no segment lost or doubled"
    )


def model_is_judged(scene: Scene) -> None:
    """What validation, packaging and the registry made of the model."""
    judged, packaged, registered = (scene.record(name) or {} for name in ("evaluation", "model_package", "registered_model"))
    for check in judged["checks"]:
        scene.say("validation", f"{check['name']}: {check['reason']}")
    metrics = judged["metrics"]["candidate"]
    scene.say("validation", ", ".join(f"{key} {value:.3f}" for key, value in metrics.items()) + f" on {judged['rows']:,} rows")
    scene.say(
        "packaging", f"ONNX, signature, model card at {packaged['prefix']}; scored in its own image {packaged['image'][:19]}…"
    )
    scene.say("registry", f"MLflow: {registered['name']} version {registered['version']}")


def months_go_by(scene: Scene, *, last: str, faulty: str, bad: str) -> None:
    """Live traffic and late outcomes, month by month; in one the live feed fails, in one somebody ships a bad model."""
    model = scene.model
    partitions = model.partitions[FIRST_MONTHS : model.partitions.index(last) + 1]
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
            scene.world.fault = _feed_fault(scene)
            scene.say("outside world", f"in {partition} the callers' feed fails: {_fault_name(scene)} comes as null")
        _replay(scene, partition)
        scene.world.fault = None
        _expect(scene, scene.processed(scene.deliver(partition, model.deliver(partition))))
        _tell_month(scene, partition)
        _note_month(scene, partition, before)
        if partition == bad:
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
    dense = world.dense
    wanted = scene.ledger.in_flight()

    def over() -> bool | None:
        nonlocal dense
        dense = dense or world.dense
        # The release under way has been decided: the rest of the month flies at the quiet pace.
        return None if world.busy else True

    scene.wait(f"{partition} flies" + (f", {wanted} is judged" if wanted else ""), over)
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

    _expect(scene, scene.wait("train_and_release runs from the UI's launchpad", look))
    for check in (scene.record("evaluation") or {})["checks"]:
        scene.say("validation", f"{check['name']}: {check['reason']}")
    scene.wait("the candidate is in the ledger", scene.ledger.in_flight)


def bad_release_was_caught(scene: Scene) -> tuple[str, dict[str, Any]] | None:
    """The release that was rolled back in canary, and the evidence."""
    for record in scene.ledger.records():
        if record.to == Stage.ROLLED_BACK:
            return record.release, record.evidence
    return None


def _finish_training(scene: Scene) -> None:
    """A training that runs at the end of a month is waited for: simulated time stands still meanwhile."""
    runs = [run for run in scene.training_runs() if not run.done]
    decided = [one for one in scene.decisions() if one["action"] in {"train", "retrain", "baseline"}]
    if not runs and len(decided) <= len(scene.training_runs()):
        return

    def idle() -> bool | None:
        runs = scene.training_runs()
        return True if all(run.done for run in runs) and len(runs) >= len(decided) else None

    scene.wait("a retraining that started by itself", idle)
    for run in scene.training_runs()[:1]:
        if run.status != "SUCCESS":
            scene.say("dagster", f"[yellow]the new model stopped at a gate[/]: {scene.dagster.why_failed(run.id)}")


def _tell_month(scene: Scene, partition: str) -> None:
    built = scene.record("features", partition)
    if built:
        view = f"view {built['view']}, features table version {built['versions']['features']}"
        scene.say("features", f"{partition}: {built['rows']:,} rows, {built['labelled']:,} with outcome; {view}")
    triage = scene.record("triage", partition)
    if triage and triage.get("served", True):
        scene.say("monitoring", f"{partition}: [bold]{triage['cause']}[/]: {_first(triage.get('reasons'))}")
    decision = scene.record("retraining_decision", partition)
    if decision and decision.get("action", "none") != "none":
        scene.say("retraining", f"[bold]{decision['action']}[/] by itself: {_first(decision.get('reasons'))}")


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


def _worker(scene: Scene, after: int = -1) -> dict[str, Any] | None:
    folder = Path(str(scene.outputs.state_dir)) / "training"
    for path in sorted(folder.glob("*.pid"), key=lambda path: path.stat().st_mtime, reverse=True):
        work, _, epoch = path.stem.rpartition("-e")
        if int(epoch) > after:
            return {"name": path.stem, "work": work, "epoch": int(epoch), **json.loads(path.read_text())}
    return None


def _finished(scene: Scene, kind: str) -> Run | None:
    chosen = scene.record("training_set")
    runs = scene.training_runs()
    if not chosen or chosen["kind"] != kind or not runs:
        return None
    return runs[0] if runs[0].done else None


def _expect(scene: Scene, run: Run) -> None:
    if run.status != "SUCCESS":
        raise UserError(
            f"run {run.id} of {run.job} ended as {run.status}: {scene.dagster.why_failed(run.id)}", "See the Dagster UI."
        )


def _columns(model: Any, frame: pl.DataFrame) -> tuple[str, str]:
    """A number and a category of the fact table that the contract bounds."""
    numeric = next(f.name for f in model.features if f.kind == "numeric" and f.name in frame.columns)
    categorical = next(f.name for f in model.features if f.kind == "categorical" and f.name in frame.columns)
    return numeric, categorical


FAULT_SHARE = 2
"""Every second request of the faulty month lacks the reading."""


def _fault_name(scene: Scene) -> str:
    return next(f.name for f in scene.model.features if f.name == "temp" or (f.kind == "numeric" and not f.nullable))


def _feed_fault(scene: Scene) -> Any:
    name = "temp" if any(feature.name == "temp" for feature in scene.model.features) else _fault_name(scene)
    count = 0

    def fault(features: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        return features | ({name: None} if count % FAULT_SHARE == 0 else {})

    return fault


def _first(reasons: Any) -> str:
    return str(reasons[0]) if isinstance(reasons, list) and reasons else str(reasons or "no reason given")
