"""The label feed: outcomes as they become known, one row a request, appended to the `labels` table."""

from typing import TYPE_CHECKING

from pipelines.tables import Tables

if TYPE_CHECKING:
    import polars as pl

TABLE = "labels"


def append_labels(tables: Tables, frame: "pl.DataFrame") -> None:
    """Append rows of request_id (string), label (float64), known_at (timestamp[us, UTC])."""
    tables.append(TABLE, frame.select("request_id", "label", "known_at"))
