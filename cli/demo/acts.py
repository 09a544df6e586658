"""The story, act by act: what the outside world does, and what is seen of the platform's own doing.

An act delivers data, sends traffic, kills a process or starts a job from the UI; everything else the platform does by itself.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import polars as pl
from rich.markup import escape

from cli.demo.scene import Scene
from cli.demo.telling import expect, tell_checks, tell_month
from cli.demo.watch import Run
from pipelines.data.faults import damage
from stacks.errors import UserError

DAMAGED = 1
"""Index of the month that first arrives damaged."""
KILL_AFTER = 2
"""Committed segments after which the worker's node is reclaimed."""


def data_arrives(scene: Scene) -> None:
    """Months arrive; one of them damaged, held back, and then corrected."""
    model = scene.model
    months = model.partitions
    first = scene.deliver(months[0], model.deliver(months[0]))
    sick = dict(model.deliver(months[DAMAGED]))
    fact = model.sources[0]
    numeric, categorical = _columns(model, sick[fact])
    sick[fact] = damage(sick[fact], numeric=numeric, categorical=categorical, entity=model.entity)
    bad = scene.deliver(months[DAMAGED], sick)
    scene.say("outside world", f"… and {months[DAMAGED]} is damaged on its way")
    expect(scene, scene.processed(first))
    tell_month(scene, months[0])
    run = scene.processed(bad)
    held = scene.record("validated", months[DAMAGED])
    if run.status != "FAILURE" or not held or not held["held"]:
        raise UserError(f"{months[DAMAGED]} was damaged and not held back (run {run.id})", "See the Dagster UI.")
    reasons = ", ".join(f"{count:,} × {reason}" for reason, count in next(iter(held["reasons"].values())).items())
    scene.say("data contract", f"[yellow]{months[DAMAGED]} held back[/]: {escape(held['held'][0])}")
    scene.say("quarantine", f"reasons: {escape(reasons)}; all {held['rows'][fact]:,} rows are kept in bronze/{fact}")
    good = scene.deliver(months[DAMAGED], model.deliver(months[DAMAGED]))
    expect(scene, scene.processed(good))
    tell_month(scene, months[DAMAGED])


def features_are_built(scene: Scene) -> None:
    """The last month before training; the first release, a plain baseline, serves by then."""
    scene.wait("the baseline serves until there is a model", scene.production, patience=120)
    partition = scene.model.partitions[scene.model.min_partitions - 1]
    expect(scene, scene.processed(scene.deliver(partition, scene.model.deliver(partition))))
    tell_month(scene, partition)


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
    expect(scene, run)
    events = scene.reclaimed_training = (scene.record("trained_model") or {})["events"]
    segments = [event["segment"] for event in events if event["kind"] == "committed"]
    if segments != list(range(scene.model.trainer.segments)):
        raise UserError(f"the training committed the segments {segments}", "See the asset trained_model in the Dagster UI.")
    reclaims = sum(event["kind"] == "preempted" for event in events)
    scene.say("training", f"{len(segments)} segments, {reclaims} preemption, no segment lost or doubled")


def model_is_judged(scene: Scene) -> None:
    """What validation, packaging and the registry made of the model."""
    judged, packaged, registered = (scene.record(name) or {} for name in ("evaluation", "model_package", "registered_model"))
    tell_checks(scene, judged)
    metrics = judged["metrics"]["candidate"]
    scene.say("validation", ", ".join(f"{key} {value:.3f}" for key, value in metrics.items()) + f" on {judged['rows']:,} rows")
    scene.say(
        "packaging", f"ONNX, signature, model card at {packaged['prefix']}; scored in its own image {packaged['image'][:19]}…"
    )
    scene.say("registry", f"MLflow: {registered['name']} version {registered['version']}")


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


def _columns(model: Any, frame: pl.DataFrame) -> tuple[str, str]:
    """A number and a category of the fact table that the contract bounds."""
    numeric = next(f.name for f in model.features if f.kind == "numeric" and f.name in frame.columns)
    categorical = next(f.name for f in model.features if f.kind == "categorical" and f.name in frame.columns)
    return numeric, categorical
