"""The feature table: a month of silver, with the month before as history, through the model's own feature function."""

from typing import Any

from pipelines.data.batches import NUMBER, PARTITION
from pipelines.model import Model, view_version
from pipelines.tables import Tables
from stacks.errors import UserError

TABLE = "features"


def build(model: Model, tables: Tables, partition: str) -> dict[str, Any]:
    """Compute a month's features and put them in the place of its rows; returns rows, label share and table versions.

    Raises UserError when silver has nothing of that month.
    """
    import polars as pl

    index = model.partitions.index(partition)
    wanted = list(model.partitions[max(0, index - 1) : index + 1])
    sources, versions = {}, {}
    for source in model.sources:
        name = f"silver/{source}"
        table = tables.open(name)
        if table is None:
            raise UserError(f"there is no table {name}", "Deliver a month first.")
        versions[name] = table.version()
        rows = pl.scan_delta(table).filter(pl.col(PARTITION).is_in(wanted)).collect()
        sources[source] = rows
    entities = sources[model.sources[0]].filter(pl.col(PARTITION) == partition).select(model.entity)
    if entities.is_empty():
        raise UserError(f"silver has no rows of {partition}", "Deliver the month, or see why it was held back.")
    plain = {name: frame.drop(PARTITION, NUMBER).unique(maintain_order=True) for name, frame in sources.items()}
    frame = (
        model.build_features(plain).join(entities, on=model.entity, how="semi").with_columns(pl.lit(partition).alias(PARTITION))
    )
    versions[TABLE] = tables.replace(TABLE, frame, partition_by=[PARTITION], predicate=f"{PARTITION} = '{partition}'")
    return {
        "partition": partition,
        "rows": frame.height,
        "labelled": int(frame[model.label].is_not_null().sum()),
        "view": view_version(model),
        "versions": versions,
        "nulls": {feature.name: int(frame[feature.name].null_count()) for feature in model.features},
    }
