"""The steps from a training set to a registered model, as plain functions over the stack's stores.

Each may run again after a kill. What Dagster shows of them is `defs`.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.model import Model
from pipelines.objects import Objects
from pipelines.serving import gate, image
from pipelines.serving.package import Package
from pipelines.tables import Tables
from pipelines.training import dataset, evaluation, packaging, registry, supervise
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.dataset import TrainingSet
from pipelines.training.launcher import Event
from pipelines.training.process_launcher import ProcessLauncher
from stacks.errors import UserError
from stacks.outputs import StackOutputs

SEED = 2013
DEADLINE_S = 3600.0
"""When a training that nobody gave a deadline should be done: within the hour."""
Record = dict[str, Any]


def name_of(model: Model, chosen: TrainingSet) -> str:
    """The work's name: the same set and parameters are the same work, wherever and however often it is started."""
    content = f"{chosen.id} {sorted(model.params.items())} {model.trainer.segments} {SEED}"
    return f"{model.name}-{chosen.id}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"


def train(
    outputs: StackOutputs, objects: Objects, model: Model, chosen: TrainingSet, *, deadline_s: float = DEADLINE_S
) -> Iterator[Event]:
    """Train through preemptions on this stack; yields what happens."""
    if outputs.state_dir is None:
        raise UserError(f"stack {outputs.stack!r} has no launcher yet", "Train on the local stack.")
    checkpoints = Checkpoints(objects, name_of(model, chosen))
    checkpoints.write_spec({"training_set": chosen.id, "seed": SEED, "params": dict(model.params)})
    outputs_file = Path(os.environ.get("SPOTFORGE_OUTPUTS") or outputs.state_dir / "outputs.json")
    where = ProcessLauncher(outputs_file, outputs.state_dir, checkpoints)
    yield from supervise.run(where, checkpoints, segments=model.trainer.segments, deadline_s=deadline_s)


def finish(objects: Objects, model: Model, chosen: TrainingSet, events: list[Record]) -> Record:
    """Turn the last state into a graph and store it; returns where it lies."""
    checkpoints = Checkpoints(objects, name_of(model, chosen))
    last = checkpoints.latest()
    if last is None or last.segment != model.trainer.segments - 1:
        raise UserError(f"training {checkpoints.work} left no whole final checkpoint", "Start it again; it resumes.")
    graph = _store_graph(objects, checkpoints, model.trainer.to_onnx(last.state, model.features))
    preempted = [event for event in events if event["kind"] == "preempted"]
    return {"work": checkpoints.work, "graph": graph, "preemptions": len(preempted), "events": events}


def fit_baseline(objects: Objects, model: Model, tables: Tables, chosen: TrainingSet) -> Record:
    """The simplest predictor, fitted in place: it takes less time than starting a worker."""
    fitted, _ = dataset.parts(model, tables, chosen)
    checkpoints = Checkpoints(objects, f"{model.name}-baseline-{chosen.id}")
    graph = _store_graph(objects, checkpoints, model.baseline(fitted))
    return {"work": checkpoints.work, "graph": graph, "preemptions": 0, "events": []}


def judge(
    outputs: StackOutputs, objects: Objects, model: Model, tables: Tables, training_set: Record, trained: Record
) -> Record:
    """Evaluate on the held-out rows; the baseline itself is not asked to beat itself."""
    chosen = dataset.load(objects, training_set["id"])
    fitted, held_out = dataset.parts(model, tables, chosen)
    contenders = {"candidate": objects.get(trained["graph"]), "baseline": model.baseline(fitted)}
    champion = _champion(outputs)
    if champion is not None:
        contenders["champion"] = champion[1]
    result = evaluation.evaluate(model, held_out, contenders).to_dict()
    if training_set["kind"] == "baseline":
        excused = {"passed": True, "reason": "this is the baseline: it serves until there is a model"}
        result |= {"passed": True, "checks": [{**check, **excused} for check in result["checks"]]}
    return {**result, "champion": champion[0] if champion else None}


def package(
    outputs: StackOutputs, model: Model, tables: Tables, training_set: Record, trained: Record, judged: Record
) -> tuple[Record, gate.GateResult]:
    """Package the graph, build the serving image, and score the one in the other."""
    objects = Objects(outputs.object_store, outputs.object_store.buckets.artifacts)
    chosen = dataset.load(objects, training_set["id"])
    _, held_out = dataset.parts(model, tables, chosen)
    built = packaging.build(model, objects.get(trained["graph"]), held_out, chosen, judged)
    prefix = packaging.prefix(model, built)
    built.save(objects, prefix)
    digest = image.build(objects, version_note=training_set.get("reason", ""))
    if outputs.state_dir is None:
        raise UserError(f"stack {outputs.stack!r} cannot restore images yet", "Package on the local stack.")
    result = gate.load_and_score(objects, digest, prefix, outputs.state_dir / "images")
    return {"prefix": prefix, "digest": built.digest, "image": digest, "card": built.card}, result


def register(
    outputs: StackOutputs, model: Model, training_set: Record, trained: Record, judged: Record, packaged: Record
) -> Record:
    """Log the training to MLflow and register the package."""
    from pipelines.release.assemble import git_sha

    objects = Objects(outputs.object_store, outputs.object_store.buckets.artifacts)
    found = registry.register(
        outputs.tracking.uri,
        name=model.name,
        work=trained["work"],
        package=Package.load(objects, packaged["prefix"]),
        prefix=packaged["prefix"],
        params=dict(model.params),
        segments=Checkpoints(objects, trained["work"]).committed(),
        metrics={f"holdout_{key}": value for key, value in judged["metrics"]["candidate"].items()},
        tags={
            "spotforge.training_set": training_set["id"],
            "spotforge.partitions": ",".join(training_set["partitions"]),
            "spotforge.kind": training_set["kind"],
            "spotforge.reason": training_set["reason"],
            "spotforge.git_sha": git_sha(),
            "spotforge.preemptions": str(trained["preemptions"]),
        },
    )
    return {"name": found.name, "version": found.version, "run_id": found.run_id, "prefix": packaged["prefix"]}


def _champion(outputs: StackOutputs) -> tuple[str, bytes] | None:
    from pipelines.release import record
    from pipelines.release.ledger import Ledger

    ledger = Ledger.of(outputs)
    production = ledger.production()
    if production is None:
        return None
    release = record.load(ledger.objects, production)
    objects = Objects(outputs.object_store, outputs.object_store.buckets.artifacts)
    return production, Package.load(objects, release.model.package).onnx


def _store_graph(objects: Objects, checkpoints: Checkpoints, onnx: bytes) -> str:
    key = f"{checkpoints.root}/model.onnx"
    objects.put(key, onnx)
    return key
