"""What monitoring reads: a month's answers with their outcomes, the champion's promise, and the rows it learned from."""

from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.model import Model
from pipelines.objects import Objects
from pipelines.release import record
from pipelines.release.ledger import Ledger
from pipelines.release.record import Release, Stage
from pipelines.tables import Tables

if TYPE_CHECKING:
    import polars as pl


def champion(ledger: Ledger) -> Release | None:
    """The release in production, or None."""
    identity = ledger.production()
    return record.load(ledger.objects, identity) if identity else None


def released(ledger: Ledger) -> int:
    """How many releases were ever in production."""
    return len({one.release for one in ledger.records() if one.to == Stage.PRODUCTION})


def promoted(ledger: Ledger) -> frozenset[str]:
    """Ids of the retraining decisions whose releases came into production."""
    came = {one.release for one in ledger.records() if one.to == Stage.PRODUCTION}
    return frozenset(str(record.load(ledger.objects, name).evidence.get("decision")) for name in came)


def served(model: Model, tables: Tables, partition: str, release: str) -> "pl.DataFrame | None":
    """The callers' rows of the month that `release` answered: features, prediction, label (null while unknown), event_time.

    The first answer to a request counts. Outcomes are the newest of the label feed; those that the month's own batch brings
    count as well, when the feed has not. A caller need not send a time: the batch knows when the request was due.
    """
    columns = (model.entity, model.label, model.event_time)
    return _read(columns, tables, partition, release, *map(tables.version, ("predictions", "features", "labels")))


@lru_cache(maxsize=1)  # every judgement of a month reads the same rows
def _read(
    columns: tuple[str, str, str],
    tables: Tables,
    partition: str,
    release: str,
    predictions: int | None,
    features: int | None,
    labels: int | None,
) -> "pl.DataFrame | None":
    """`served` of these versions of the tables; `columns` of the batch: request id, label, moment."""
    import polars as pl

    entity, label, moment = columns
    if predictions is None or features is None:
        return None
    answers, months = tables.scan("predictions", predictions), tables.scan("features", features)
    if answers is None or months is None:
        return None
    batch = months.filter(pl.col("_partition") == partition).select(
        pl.col(entity).alias("request_id"), batch_label=label, batch_time=moment
    )
    rows = (
        answers.filter((pl.col("arm") == "live") & (pl.col("release") == release))
        .join(batch, on="request_id", how="inner")
        .sort("served_at")
        .unique(subset="request_id", keep="first", maintain_order=True)
        .select("request_id", "prediction", "features", "batch_label", event_time=pl.coalesce("event_time", "batch_time"))
    )
    feed = None if labels is None else tables.scan("labels", labels)
    if feed is None:
        joined = rows.with_columns(label=pl.col("batch_label"))
    else:
        # Files of a table come in no order, so the newest outcome is found by when it was known.
        known = feed.group_by("request_id").agg(pl.col("label").sort_by("known_at").last())
        joined = rows.join(known, on="request_id", how="left", maintain_order="left").with_columns(
            label=pl.coalesce("label", "batch_label")
        )
    return joined.drop("batch_label").collect().unnest("features")


def batch(model: Model, tables: Tables, partition: str) -> "pl.DataFrame | None":
    """The features that the month's own batch gives the same requests, by request_id."""
    import polars as pl

    frame = tables.scan("features")
    if frame is None:
        return None
    names = [feature.name for feature in model.features]
    return (
        frame.filter(pl.col("_partition") == partition)
        .rename({model.entity: "request_id"})
        .select("request_id", *names)
        .collect()
    )


def reference(model: Model, tables: Tables, release: Release) -> "pl.DataFrame | None":
    """The rows of the champion's training set at their recorded version."""
    import polars as pl

    frame = tables.scan("features", release.data.tables.get("features"))
    if frame is None:
        return None
    names = [feature.name for feature in model.features]
    return frame.filter(pl.col("_partition").is_in(list(release.data.partitions))).select(model.event_time, *names).collect()


def promised(objects: Objects, release: Release) -> float | None:
    """The loss that the release's evaluation found on held-out rows."""
    losses = release.evidence.get("evaluation", {}).get("losses", {})
    value = losses.get("candidate")
    return float(value) if value is not None else None
