"""Dagster's view of the data room: a month lands, is judged at the door, and becomes features."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg

from pipelines.model import load_model
from pipelines.orchestration import Platform, months, shown

POLL_S = 1


class DeliveryConfig(dg.Config):
    delivery: int = 0
    """Number of the delivery; 0 means the newest of the month."""


def build() -> dg.Definitions:
    """Assets landed, validated, features (a partition a month), the job `process_month` and its sensor."""
    model = load_model(os.environ.get("SPOTFORGE_MODEL", "pipelines.flight_delay"))
    partitions = months(model)

    @dg.asset(group_name="data", partitions_def=partitions)
    def landed(context: dg.AssetExecutionContext, config: DeliveryConfig, platform: Platform) -> dg.Output[dict[str, Any]]:
        """Everything a delivery held, kept as it came (`bronze/…`)."""
        from pipelines.data import batches, landing

        objects = platform.bucket("data")
        number = config.delivery
        if not number:
            found = landing.deliveries(objects, context.partition_key)
            if not found:
                raise dg.Failure(f"nothing has been delivered for {context.partition_key}; deliver the month first")
            number = found[-1].number
        delivery = landing.Delivery(context.partition_key, number)
        rows = batches.land(platform.model, objects, platform.tables, delivery)
        return dg.Output(
            {"partition": delivery.partition, "delivery": number, "rows": rows}, metadata={"delivery": number, **rows}
        )

    @dg.asset(
        group_name="data",
        partitions_def=partitions,
        check_specs=[dg.AssetCheckSpec("contract", asset="validated", blocking=True)],
    )
    def validated(
        context: dg.AssetExecutionContext, platform: Platform, landed: dict[str, Any]
    ) -> Iterator[dg.Output[dict[str, Any]] | dg.AssetCheckResult]:
        """The rows that keep the contract (`silver/…`); the others stand in `quarantine/…` with their reasons."""
        from pipelines.data import batches, landing

        delivery = landing.Delivery(context.partition_key, landed["delivery"])
        result = batches.validate(platform.model, platform.bucket("data"), platform.tables, delivery)
        record = {**asdict(result), "partition": delivery.partition}
        metadata = shown(
            {
                "held_back": list(result.held),
                "quarantined": result.quarantined,
                "reasons": result.reasons,
                "sample": result.sample,
            }
        )
        yield dg.Output(record, metadata=metadata)
        yield dg.AssetCheckResult(
            check_name="contract", passed=not result.held, description="; ".join(result.held) or "kept", metadata=metadata
        )

    @dg.asset(group_name="data", partitions_def=partitions)
    def features(context: dg.AssetExecutionContext, platform: Platform, validated: dict[str, Any]) -> dg.Output[dict[str, Any]]:
        """Point-in-time features of the month, and the table versions they came from."""
        from pipelines.data import features as room

        record = room.build(platform.model, platform.tables, context.partition_key)
        return dg.Output(record, metadata=shown(record))

    job = dg.define_asset_job(
        "process_month",
        selection=dg.AssetSelection.groups("data", "monitoring"),
        description="A month arrives: contract, features, and what monitoring makes of the month that was served.",
    )

    @dg.sensor(job=job, minimum_interval_seconds=POLL_S, default_status=dg.DefaultSensorStatus.RUNNING)
    def landing_sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
        """Start `process_month` for every delivery not yet asked for; a run key each, so that a lost cursor runs none twice."""
        from pipelines.data import landing

        asked: list[str] = json.loads(context.cursor or "[]")
        requests = []
        for delivery in landing.deliveries(platform.bucket("data")):
            marker = f"{delivery.partition}/{delivery.number}"
            if marker not in asked:
                requests.append(
                    dg.RunRequest(
                        run_key=marker,
                        partition_key=delivery.partition,
                        run_config={"ops": {"landed": {"config": {"delivery": delivery.number}}}},
                        tags={"spotforge/delivery": marker},
                    )
                )
        if not requests:
            return dg.SkipReason("nothing new has been delivered")
        return dg.SensorResult(
            run_requests=requests, cursor=json.dumps([*asked, *(str(request.run_key) for request in requests)])
        )

    return dg.Definitions(assets=[landed, validated, features], jobs=[job], sensors=[landing_sensor])
