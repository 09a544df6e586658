"""A platform that has served: months of features, a champion in the ledger, answers as the model server logs them."""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from pipelines.data.batches import PARTITION
from pipelines.data.features import TABLE
from pipelines.flight_delay.model import MODEL
from pipelines.objects import Objects
from pipelines.release import record
from pipelines.release.ledger import Ledger
from pipelines.release.record import Release, Stage
from pipelines.serving.package import Signature
from pipelines.serving.prediction_log import PARTITION_BY, Entry, to_arrow
from pipelines.tables import Tables
from stacks.outputs import StackOutputs

SIGNATURE = Signature.of(MODEL)


def put_month(outputs: StackOutputs, month: str, frame: pl.DataFrame) -> int:
    """The month's features, as the data room writes them; returns the table's version."""
    rows = frame.with_columns(pl.lit(month).alias(PARTITION))
    return Tables(outputs).replace(TABLE, rows, partition_by=[PARTITION], predicate=f"{PARTITION} = '{month}'")


def promote(outputs: StackOutputs, number: int, *, months: tuple[str, ...] = (), version: int = 0, **evidence: Any) -> Release:
    """A release in production, which learned from those months at that version of the features."""
    content: dict[str, Any] = {
        "created_at": datetime(2013, 1, 1, tzinfo=UTC),
        "created_by": "test",
        "reason": "test",
        "code": {"git_sha": "unknown", "image": "sha256:none"},
        "model": {"name": MODEL.name, "version": str(number), "digest": "-", "package": "-", "run_id": "-"},
        "data": {"training_set": "-", "tables": {TABLE: version}, "partitions": months, "feature_view": "-"},
        "infra": outputs.digest(),
        "evidence": evidence,
    }
    release = Release(id=record.release_id(number, content), **content)
    ledger = Ledger.of(outputs)
    record.save(ledger.objects, release)
    path = (Stage.CANDIDATE, Stage.STAGING) + (() if ledger.production() is None else (Stage.SHADOW, Stage.CANARY))
    before = None
    for stage in (*path, Stage.PRODUCTION):
        weight = 5 if stage is Stage.CANARY else None
        ledger.append(release.id, stage, from_=before, who="test", why="test", weight=weight)
        before = stage
    return release


def answer(outputs: StackOutputs, release: str, rows: pl.DataFrame, *, arm: str = "live", served_at: int = 0) -> None:
    """One append of answered requests: request_id, event_time (or null), prediction, and the features."""
    entry = Entry(
        ids=rows["request_id"].to_list(),
        times=rows["event_time"].dt.epoch("us").to_list(),
        values=[list(row) for row in rows.select(SIGNATURE.names).iter_rows()],
        predictions=rows["prediction"].to_list(),
        served_at=served_at,
        arm=arm,
        latency_ms=1.0,
    )
    Tables(outputs).append("predictions", to_arrow([entry], SIGNATURE, release), partition_by=PARTITION_BY)


def records(outputs: StackOutputs) -> Objects:
    return Objects(outputs.object_store, outputs.object_store.buckets.artifacts)
