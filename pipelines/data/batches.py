"""From landing to silver: everything delivered is kept (bronze), bad rows stand apart with their reasons, good months go on.

Each step may run again after a kill and ends the same.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data import contracts, landing
from pipelines.data.landing import Delivery
from pipelines.model import Model
from pipelines.objects import Objects
from pipelines.tables import Tables

if TYPE_CHECKING:
    import polars as pl

PARTITION, NUMBER = "_partition", "_delivery"


@dataclass(frozen=True)
class Accepted:
    """What a delivery became. `held` says why the month is held back; empty if it went on to silver."""

    delivery: Delivery
    rows: dict[str, int]
    quarantined: dict[str, int]
    reasons: dict[str, dict[str, int]]
    sample: list[dict[str, Any]]
    held: tuple[str, ...]
    versions: dict[str, int]


def land(model: Model, objects: Objects, tables: Tables, delivery: Delivery) -> dict[str, int]:
    """Keep everything delivered: `bronze/<source>`, replaced per (month, delivery). Returns rows a source."""
    frames = landing.read(objects, delivery)
    for source, frame in frames.items():
        tables.replace(
            f"bronze/{source}", _marked(frame, delivery), partition_by=[PARTITION, NUMBER], predicate=_same(delivery)
        )
    return {source: frame.height for source, frame in frames.items()}


def validate(model: Model, objects: Objects, tables: Tables, delivery: Delivery) -> Accepted:
    """Judge a landed delivery: bad rows to `quarantine/<source>`, and, unless the month is held back, the rest to silver."""
    frames = landing.read(objects, delivery)
    verdicts = contracts.check(model, frames, usual_rows=_usual(model, tables, delivery.partition))
    for verdict in verdicts:
        if not verdict.rejected.is_empty():
            rows = _marked(verdict.rejected, delivery)
            tables.replace(f"quarantine/{verdict.source}", rows, partition_by=[PARTITION, NUMBER], predicate=_same(delivery))
    held = tuple(fault for verdict in verdicts for fault in verdict.faults)
    versions = {}
    if not held:
        for verdict in verdicts:
            name, rows = f"silver/{verdict.source}", _marked(verdict.accepted, delivery)
            versions[name] = tables.replace(
                name, rows, partition_by=[PARTITION], predicate=f"{PARTITION} = '{delivery.partition}'"
            )
    return Accepted(
        delivery=delivery,
        rows={verdict.source: verdict.rows for verdict in verdicts},
        quarantined={verdict.source: verdict.rejected.height for verdict in verdicts},
        reasons={verdict.source: verdict.reasons for verdict in verdicts if not verdict.rejected.is_empty()},
        sample=[row for verdict in verdicts for row in verdict.rejected.head(3).to_dicts()],
        held=held,
        versions=versions,
    )


def _marked(frame: "pl.DataFrame", delivery: Delivery) -> "pl.DataFrame":
    import polars as pl

    return frame.with_columns(pl.lit(delivery.partition).alias(PARTITION), pl.lit(delivery.number).cast(pl.Int64).alias(NUMBER))


def _same(delivery: Delivery) -> str:
    return f"{PARTITION} = '{delivery.partition}' AND {NUMBER} = {delivery.number}"


def _usual(model: Model, tables: Tables, partition: str) -> dict[str, int]:
    import polars as pl

    index = model.partitions.index(partition)
    if index == 0:
        return {}
    usual = {}
    for source in model.sources:
        before = tables.scan(f"silver/{source}")
        if before is not None:
            rows = before.filter(pl.col(PARTITION) == model.partitions[index - 1]).select(pl.len()).collect().item()
            usual[source] = int(rows)
    return usual
