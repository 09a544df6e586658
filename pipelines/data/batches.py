"""From landing to silver: everything delivered is kept (bronze), bad rows stand apart with their reasons, good months go on.

Each step may run again after a kill and ends the same. What a row must be like is the model's contract, judged in `contracts`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data import contracts, landing
from pipelines.data.landing import Delivery
from pipelines.model import Model
from pipelines.objects import Objects
from pipelines.tables import Tables
from stacks.errors import UserError

if TYPE_CHECKING:
    import polars as pl

PARTITION, NUMBER = "_partition", "_delivery"
MISFIT = "_misfit"
"""JSON of a row's values whose type is not the column's: a feed that writes text for numbers is kept as it came, too."""


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
        _keep(model, tables, f"bronze/{source}", frame, delivery)
    return {source: frame.height for source, frame in frames.items()}


def validate(model: Model, objects: Objects, tables: Tables, delivery: Delivery) -> Accepted:
    """Judge a landed delivery: bad rows to `quarantine/<source>`, and, unless the month is held back, the rest to silver.

    Raises UserError when a later delivery of the month was accepted already: an old run that is repeated must not undo it.
    """
    _refuse_older(model, tables, delivery)
    frames = landing.read(objects, delivery)
    verdicts = contracts.check(model, frames, usual_rows=_usual(model, tables, delivery.partition))
    for verdict in verdicts:
        if not verdict.rejected.is_empty():
            _keep(model, tables, f"quarantine/{verdict.source}", verdict.rejected, delivery)
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


def _keep(model: Model, tables: Tables, name: str, frame: "pl.DataFrame", delivery: Delivery) -> None:
    """Put rows in the place of those of the same delivery, whatever their columns: nothing that was delivered is lost."""
    import polars as pl

    agreed = {column: spec.dtype.type for column, spec in model.contract(name.split("/")[1]).columns.items()}
    table = tables.scan(name)
    types = agreed | (dict(table.collect_schema()) if table is not None else {})
    odd = [column for column, found in frame.schema.items() if found != types.get(column, found)]
    misfit = pl.struct(odd).struct.json_encode() if odd else pl.lit(None, dtype=pl.String)
    rows = _marked(frame.with_columns(misfit.alias(MISFIT)).drop(odd), delivery)
    same = f"{PARTITION} = '{delivery.partition}' AND {NUMBER} = {delivery.number}"
    tables.replace(name, rows, partition_by=[PARTITION, NUMBER], predicate=same)


def _refuse_older(model: Model, tables: Tables, delivery: Delivery) -> None:
    import polars as pl

    silver = tables.scan(f"silver/{model.sources[0]}")
    if silver is None:
        return
    newest = silver.filter(pl.col(PARTITION) == delivery.partition).select(pl.col(NUMBER).max()).collect().item()
    if newest is not None and newest > delivery.number:
        raise UserError(
            f"delivery {newest} of {delivery.partition} was accepted already, and {delivery.number} is older",
            "If the older one is right, deliver it again.",
        )


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
