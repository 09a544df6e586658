"""Dagster's view of the training room: a set is chosen, a model trained on it, judged, packaged and registered."""

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg

from pipelines.orchestration import Platform, shown

HANDED_ON = ("training_set", "trained_model", "evaluation", "model_package")
"""The assets on the way to a registered model, in order: each learns from those before it."""
CHECKS = ("beats_baseline", "not_worse_than_champion", "no_slice_regression")


class TrainingConfig(dg.Config):
    """What to train and why. Launch `train_and_release` from the UI with it, or let a retraining decision fill it in."""

    kind: str = "challenger"
    """`challenger`, or `baseline` for the simplest predictor, which is what serves before there is a model."""
    partitions: list[str] = []
    """Months to learn from; empty means all that have features."""
    split: str = "days"
    """`days` holds out every fourth day; `random` holds out rows, and flatters."""
    reason: str = "started by hand"
    decision: str = ""
    """Id of the retraining decision that asked for it."""
    deadline_minutes: float = 60
    """When the training should be done: as long as that is safe it stays on spot capacity, then it moves to on-demand."""


@dg.asset(group_name="training", deps=["features", "retraining_decision"])
def training_set(config: TrainingConfig, platform: Platform) -> dg.Output[dict[str, Any]]:
    """Which rows of which table versions the model learns from, recorded before it does."""
    from dataclasses import asdict

    from pipelines.training import dataset

    split: Literal["days", "random"] = "random" if config.split == "random" else "days"
    chosen = dataset.choose(platform.model, platform.tables, config.partitions, split)
    dataset.save(platform.bucket("artifacts"), chosen)
    asked = {name: getattr(config, name) for name in ("kind", "reason", "decision", "deadline_minutes")}
    record = {**asdict(chosen), **asked}
    return dg.Output(record, metadata=shown(record))


@dg.asset(group_name="training", deps=HANDED_ON[:1])
def trained_model(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[dict[str, Any]]:
    """The trained graph. Runs in a process of its own that may be reclaimed at any time, and goes on from its last commit."""
    from pipelines.training import dataset, work

    objects, model, asked = platform.bucket("artifacts"), platform.model, platform.record("training_set")
    chosen = dataset.load(objects, asked["id"])
    if asked["kind"] == "baseline":
        record = work.fit_baseline(objects, model, platform.tables, chosen)
        return dg.Output(record, metadata=shown(record))
    events = []
    for event in work.train(platform.outputs, objects, model, chosen, deadline_s=asked["deadline_minutes"] * 60):
        context.log.info(f"{event.kind}: {event.detail}")
        # The timeline of the asset in the UI, as it happens and also if the run dies.
        context.log_event(
            dg.AssetObservation("trained_model", description=event.kind, metadata=shown({"event": event.kind, **event.detail}))
        )
        events.append({"kind": event.kind, **event.detail})
    record = work.finish(objects, model, chosen, events)
    return dg.Output(record, metadata=shown(record))


@dg.asset(
    group_name="training",
    deps=HANDED_ON[:2],
    check_specs=[dg.AssetCheckSpec(name, asset="evaluation", blocking=True) for name in CHECKS],
)
def evaluation(platform: Platform) -> Iterator[dg.Output[dict[str, Any]] | dg.AssetCheckResult]:
    """The model against the baseline and the champion, on rows none of them has learned from."""
    from pipelines.training import work

    chosen, trained = map(platform.record, HANDED_ON[:2])
    result = work.judge(platform.outputs, platform.bucket("artifacts"), platform.model, platform.tables, chosen, trained)
    yield dg.Output(
        result, metadata={"losses": result["losses"], "metrics": result["metrics"], "champion": result["champion"] or "none"}
    )
    for check in result["checks"]:
        yield dg.AssetCheckResult(
            check_name=check["name"],
            passed=check["passed"],
            description=check["reason"],
            metadata={"value": check["value"], "limit": check["limit"]},
        )


@dg.asset(
    group_name="training",
    deps=HANDED_ON[:3],
    check_specs=[dg.AssetCheckSpec("loads_in_serving_env", asset="model_package", blocking=True)],
)
def model_package(platform: Platform) -> Iterator[dg.Output[dict[str, Any]] | dg.AssetCheckResult]:
    """Graph, signature, model card and example; loaded and scored in the very image that will serve it."""
    from pipelines.training import work

    made = map(platform.record, HANDED_ON[:3])
    record, gate = work.package(platform.outputs, platform.model, platform.tables, *made)
    yield dg.Output(
        record, metadata={"card": dg.MetadataValue.md(record["card"]), "prefix": record["prefix"], "image": record["image"]}
    )
    yield dg.AssetCheckResult(
        check_name="loads_in_serving_env", passed=gate.ok, description=gate.reason, metadata={"seconds": gate.seconds}
    )


@dg.asset(group_name="training", deps=HANDED_ON)
def registered_model(platform: Platform) -> dg.Output[dict[str, Any]]:
    """The package as a version in the MLflow registry, with the run that made it."""
    from pipelines.training import work

    made = map(platform.record, HANDED_ON)
    record = work.register(platform.outputs, platform.model, *made)
    return dg.Output(record, metadata=shown(record))


def build() -> dg.Definitions:
    """Assets training_set, trained_model, evaluation, model_package, registered_model with their blocking checks."""
    return dg.Definitions(assets=[training_set, trained_model, evaluation, model_package, registered_model])
