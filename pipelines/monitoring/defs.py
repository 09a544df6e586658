"""Dagster's view of the monitoring room: what a served month was worth, why, and what is done about it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg

from pipelines.model import load_model
from pipelines.orchestration import Platform, months, shown

POLL_S = 1


def build() -> dg.Definitions:
    """Assets data_quality, data_drift, performance, concept_drift, triage, retraining_decision, and the retraining sensor."""
    partitions = months(load_model(os.environ.get("SPOTFORGE_MODEL", "pipelines.flight_delay")))

    def asset(function: Any) -> dg.AssetsDefinition:
        return dg.asset(group_name="monitoring", partitions_def=partitions)(function)

    return dg.Definitions(assets=[*_judgements(asset), *_conclusions(asset)], sensors=[retraining_sensor])


def _judgements(asset: Callable[[Any], dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """What can be said of a month, each from one side."""

    @asset
    def data_quality(
        context: dg.AssetExecutionContext, platform: Platform, features: dict[str, Any]
    ) -> dg.Output[dict[str, Any]]:
        """Faults of the live inputs, column by column; and where they differ from the month's batch."""
        from pipelines.monitoring import inputs, quality, skew

        release, frame = _month(context, platform)
        if frame is None or frame.is_empty():
            return _output({"served": False, "findings": []})
        model = platform.model
        usual = inputs.reference(model, platform.tables, release)
        usual = usual if usual is None else usual.rename({model.event_time: "event_time"})
        found = quality.judge(frame, model.features, time="event_time", reference=usual)
        batch = inputs.batch(model, platform.tables, context.partition_key)
        found += () if batch is None else skew.judge(frame, batch, model.features, key="request_id")
        faults, notes = ([one for one in found if one.fault is fault] for fault in (True, False))
        return _output({"served": True, "findings": [asdict(one) for one in faults], "notes": [one.text for one in notes]})

    @asset
    def data_drift(
        context: dg.AssetExecutionContext, platform: Platform, features: dict[str, Any]
    ) -> dg.Output[dict[str, Any]]:
        """Which inputs moved, against the rows the champion learned from."""
        from pipelines.monitoring import drift, inputs

        release, frame = _month(context, platform)
        if frame is None or frame.is_empty():
            return _output({"served": False, "drifted": []})
        model = platform.model
        reference = inputs.reference(model, platform.tables, release)
        if reference is None:
            return _output({"served": True, "decided": False, "reason": "the champion's rows are gone", "drifted": []})
        verdict = drift.judge(reference, frame.rename({"event_time": model.event_time}), model.features, time=model.event_time)
        return _output(
            {
                "served": True,
                "decided": verdict.decided,
                "reason": verdict.reason,
                "rows": verdict.rows,
                "days": verdict.days,
                "drifted": list(verdict.drifted),
                "effects": {one.name: round(one.effect, 4) for one in verdict.columns},
                "where": {one.name: one.where for one in verdict.columns if one.drifted},
                "skipped": dict(verdict.skipped),
            }
        )

    @asset
    def performance(
        context: dg.AssetExecutionContext, platform: Platform, features: dict[str, Any]
    ) -> dg.Output[dict[str, Any]]:
        """The month's loss, once outcomes were known, against what the evaluation promised."""
        from pipelines.monitoring import inputs
        from pipelines.monitoring import performance as room

        release, frame = _month(context, platform)
        if frame is None or frame.is_empty():
            return _output({"served": False})
        expected = inputs.promised(platform.bucket("artifacts"), release)
        result = room.judge(platform.model, frame, expected=expected)
        return _output({**asdict(result), "answers": result.served, "served": True, "release": release.id})

    @asset
    def concept_drift(
        context: dg.AssetExecutionContext, platform: Platform, features: dict[str, Any]
    ) -> dg.Output[dict[str, Any]]:
        """Whether outcomes part from predictions, inputs held fixed."""
        from pipelines.monitoring import concept

        _, frame = _month(context, platform)
        if frame is None or frame.is_empty():
            return _output({"served": False})
        return _output({"served": True, **asdict(concept.judge(frame))})

    return [data_quality, data_drift, performance, concept_drift]


def _conclusions(asset: Callable[[Any], dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """What follows from it."""

    @asset
    def triage(
        data_quality: dict[str, Any], data_drift: dict[str, Any], performance: dict[str, Any], concept_drift: dict[str, Any]
    ) -> dg.Output[dict[str, Any]]:
        """One cause for the month, with its remedy."""
        from pipelines.monitoring import records
        from pipelines.monitoring import triage as room

        if not data_quality["served"]:
            return _output({"served": False, "cause": "not_served", "reasons": ["no caller was answered in this month"]})
        verdict = room.judge(
            records.findings(data_quality),
            data_drift["drifted"] if data_drift["decided"] else None,
            records.performance(performance),
            records.concept(concept_drift),
        )
        return _output({"served": True, **asdict(verdict)})

    @asset
    def retraining_decision(
        context: dg.AssetExecutionContext, platform: Platform, landed: dict[str, Any], triage: dict[str, Any]
    ) -> dg.Output[dict[str, Any]]:
        """What is done about it, governed: one release at a time, a cooldown, no training on a faulty feed."""
        from pipelines.monitoring import decisions, inputs, records, retraining
        from pipelines.release.ledger import Ledger
        from pipelines.training import dataset

        ledger, model = Ledger.of(platform.outputs), platform.model
        known = decisions.read(ledger.objects)
        situation = retraining.Situation(
            partition=context.partition_key,
            months=tuple(name for name in dataset.available(platform.tables) if name <= context.partition_key),
            min_months=model.min_partitions,
            released=inputs.released(ledger),
            in_flight=ledger.in_flight(),
            baseline_asked=any(one["action"] == "baseline" for one in known),
            last_training=decisions.last_training(known),
            last_promoted=decisions.last_training(known, inputs.promoted(ledger)),
            faulty=decisions.faulty(known),
        )
        decision = retraining.decide(records.triage(triage), situation)
        return _output(decisions.append(ledger.objects, decision, delivery=landed["delivery"]))

    return [triage, retraining_decision]


@dg.sensor(job_name="train_and_release", minimum_interval_seconds=POLL_S, default_status=dg.DefaultSensorStatus.RUNNING)
def retraining_sensor(context: dg.SensorEvaluationContext, platform: Platform) -> Iterator[dg.RunRequest]:
    """Start `train_and_release` for every decision that asks for it; a run key each, so that none runs twice."""
    from pipelines.monitoring import decisions

    for one in decisions.read(platform.bucket("ledger")):
        if one["action"] == "none":
            continue
        config = {
            "kind": "baseline" if one["action"] == "baseline" else "challenger",
            "partitions": one["partitions"],
            "reason": f"{one['cause']} in {one['partition']}",
            "decision": one["id"],
        }
        yield dg.RunRequest(
            run_key=f"decision-{one['id']}",
            run_config={"ops": {"training_set": {"config": config}}},
            tags={decisions.DECISION_TAG: one["id"]},
        )


def _month(context: dg.AssetExecutionContext, platform: Platform) -> tuple[Any, Any]:
    """The champion, and the rows it answered in the month; either may be None."""
    from pipelines.monitoring import inputs
    from pipelines.release.ledger import Ledger

    release = inputs.champion(Ledger.of(platform.outputs))
    if release is None:
        return None, None
    return release, inputs.served(platform.model, platform.tables, context.partition_key, release.id)


def _output(record: dict[str, Any]) -> dg.Output[dict[str, Any]]:
    return dg.Output(record, metadata=shown(record))
