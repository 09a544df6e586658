"""Dagster's view of the release room: a candidate is made here; what the controller does with it is mirrored, never decided."""

import json
from typing import Any

import dagster as dg

from pipelines.orchestration import Platform, shown

MIRROR_S = 1
# One look mirrors at most so many records: a tick of the daemon must stay short.
RECORDS_A_LOOK = 50


MADE_OF = ("training_set", "evaluation", "model_package", "registered_model")


@dg.asset(group_name="release", deps=MADE_OF)
def release_candidate(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[dict[str, Any]]:
    """Code, model, data and configuration as one immutable record, put into the ledger as a candidate."""
    from pipelines.release import assemble

    made = {name: platform.record(name) for name in MADE_OF}
    release = assemble.from_training(platform.outputs, **made, who="dagster")
    context.log.info(f"{release.id} is a candidate; the release controller takes it from here")
    record = json.loads(release.model_dump_json())
    return dg.Output({"release": release.id}, metadata=shown({"release": release.id, "record": record}))


production_release = dg.AssetSpec(
    "production_release",
    group_name="release",
    deps=["release_candidate"],
    description="The ledger of releases, one materialization a record. Written by the release controller and by operators; "
    "Dagster only mirrors it, so that a dead daemon leaves nothing unguarded.",
)


@dg.op
def verify_ledger(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Walk the release ledger's chain, its signed heads and the object versions; fail when any does not hold."""
    from pipelines.release.ledger import Ledger

    found = Ledger.of(platform.outputs).verify()
    if found.problems:
        raise dg.Failure("; ".join(found.problems), allow_retries=False)
    context.log.info(f"{found.records} records hold, up to {found.head[:12]}")


@dg.job(executor_def=dg.in_process_executor)
def ledger_verify() -> None:
    """The nightly walk along the release ledger."""
    verify_ledger()


def mirror(platform: Platform, cursor: str | None) -> dg.SensorResult:
    """Materializations for the ledger records after `cursor` (the number of records mirrored so far)."""
    from pipelines.release.ledger import PREFIX, Ledger, key_of

    done = int(cursor or 0)
    ledger = Ledger.of(platform.outputs)
    # The one listing from the last mirrored record on is all that a quiet look costs.
    listed = [stored.key for stored in ledger.objects.list(PREFIX, after=key_of(done - 2) if done > 1 else "")]
    if done and key_of(done - 1) not in listed:
        done = 0  # a younger ledger: the stack was made anew under a Dagster that remembers the old one
    elif len(listed) == min(done, 1):
        return dg.SensorResult(skip_reason="nothing new in the ledger", cursor=str(done))
    records = ledger.records()
    new = records[done : done + RECORDS_A_LOOK]
    events = [
        dg.AssetMaterialization(
            "production_release",
            description=f"{record.release} is {record.to}: {record.why}",
            metadata=shown(json.loads(record.model_dump_json(by_alias=True))),
        )
        for record in new
    ]
    return dg.SensorResult(asset_events=events, cursor=str(done + len(new)))


@dg.sensor(minimum_interval_seconds=MIRROR_S, default_status=dg.DefaultSensorStatus.RUNNING)
def release_mirror(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
    """Shows every ledger record in the UI as a materialization of `production_release`."""
    return mirror(platform, context.cursor)


def build() -> dg.Definitions:
    """Assets release_candidate and production_release, the jobs train_and_release and ledger_verify, mirror and schedule."""
    train_and_release = dg.define_asset_job(
        "train_and_release",
        tags={"spotforge/one-at-a-time": "training"},
        selection=dg.AssetSelection.groups("training") | dg.AssetSelection.assets("release_candidate"),
        description="Choose a training set, train, judge, package, register, and hand the result to the release controller.",
    )
    nightly = dg.ScheduleDefinition(
        name="ledger_verify_nightly",
        job=ledger_verify,
        cron_schedule="0 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(
        assets=[release_candidate, production_release],
        jobs=[train_and_release, ledger_verify],
        sensors=[release_mirror],
        schedules=[nightly],
    )
