"""What the prediction log and the labels say of a champion and its challenger, read as it is written.

Each look reads only the files that were added since the last one. What the rows mean is `pairs`.
"""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.objects import ObjectMissing, Objects
from pipelines.tables import Tables
from stacks.errors import UserError

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

PREDICTIONS, LABELS = "predictions", "labels"
# The store's clock and ours may differ by this much; an older file cannot hold a row of interest.
SLACK = timedelta(seconds=30)


# A file takes some milliseconds of waiting for the store; a controller that comes back has a hundred to catch up with.
READERS = 8


@dataclass
class Feed:
    """New rows of one Delta table, each file once. Only files that were written after `since`."""

    tables: Tables
    name: str
    since: datetime
    columns: tuple[str, ...]
    _objects: Objects = field(init=False)
    _table: "DeltaTable | None" = None
    _version: int = -1
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        store = self.tables.outputs.object_store
        self._objects = Objects(store, store.buckets.data)

    def read(self, releases: frozenset[str] | None = None) -> "pl.DataFrame | None":
        """Rows of the files added since the last read (of these releases' partitions); None when there is nothing new."""
        import polars as pl

        actions = self._news()
        if actions is None:
            return None
        new = actions.filter(~pl.col("path").is_in(self._seen), pl.col("modification_time") >= self.since - SLACK)
        if releases is not None:
            new = new.filter(pl.col("partition.release").is_in(list(releases)))
        rows = new.sort("modification_time", "path").to_dicts()
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(self._file, [row["path"] for row in rows]))
        frames = [
            frame if releases is None else frame.with_columns(release=pl.lit(row["partition.release"]))
            for row, frame in zip(rows, read, strict=True)
            if frame is not None
        ]
        # Only now, when all of it was read: what fails half-way is read again.
        self._seen = set(actions["path"])
        self._version = self._table.version() if self._table else -1
        return pl.concat(frames) if frames else None

    def _news(self) -> "pl.DataFrame | None":
        """All files of the newest version, or None when the version is known already or the table does not exist yet."""
        import polars as pl
        from deltalake.exceptions import DeltaError

        if self._table is None:
            self._table = self.tables.open(self.name)
        else:
            try:
                self._table.update_incremental()
            except (DeltaError, OSError) as error:
                self._table = None
                raise UserError(
                    f"table {self.name} cannot be read ({type(error).__name__})", "Run `spotforge status`, then `spotforge up`."
                ) from error
        if self._table is None or self._table.version() == self._version:
            return None
        wanted = ["path", "modification_time", *(["partition.release"] if self.name == PREDICTIONS else [])]
        # delta-rs gives the time as milliseconds since the epoch.
        when = pl.from_epoch("modification_time", time_unit="ms").dt.replace_time_zone("UTC")
        return pl.DataFrame(self._table.get_add_actions(flatten=True)).select(wanted).with_columns(when)

    def _file(self, path: str) -> "pl.DataFrame | None":
        import polars as pl

        try:
            body = self._objects.get(f"tables/{self.name}/{path}")
        except ObjectMissing:
            return None  # compacted away since; its rows are in another file
        return pl.read_parquet(io.BytesIO(body), columns=list(self.columns))


@dataclass
class Evidence:
    """The rows that judge `candidate` against `champion`, since its shadow began."""

    tables: Tables
    champion: str
    candidate: str
    since: datetime

    def __post_init__(self) -> None:
        columns = ("request_id", "event_time", "served_at", "arm", "prediction")
        self._predictions = Feed(self.tables, PREDICTIONS, self.since, columns)
        self._labels = Feed(self.tables, LABELS, self.since, ("request_id", "label", "known_at"))

    def labels(self) -> "pl.DataFrame | None":
        """New labels as `Pairs.add` takes them. Raises UserError when the store cannot be reached."""
        return self._labels.read()

    def predictions(self) -> "tuple[pl.DataFrame | None, pl.DataFrame | None]":
        """New answers as `Pairs.add` takes them: live, shadow. Raises UserError when the store cannot be reached."""
        import polars as pl

        rows = self._predictions.read(frozenset({self.champion, self.candidate}))
        if rows is None:
            return None, None
        # A caller that sends no event time is judged by when it was answered.
        when = pl.coalesce("event_time", "served_at").alias("event_time")
        live = rows.filter(pl.col("release") == self.champion, pl.col("arm") == "live")
        shadow = rows.filter(pl.col("release") == self.candidate, pl.col("arm") == "shadow")
        return live.select("request_id", when, "prediction"), shadow.select("request_id", "prediction")
