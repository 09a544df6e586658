"""The log of every answered prediction: queued by the server, appended to the Delta table `predictions` by a thread.

Reading it is the monitoring room's work. Arrow comes from arro3, which deltalake brings: the image holds no polars.
"""

import secrets
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.serving.metrics import Metrics
from pipelines.serving.package import Signature
from pipelines.tables import Tables

if TYPE_CHECKING:
    from arro3.core import RecordBatch
    from deltalake import DeltaTable

TABLE = "predictions"
PARTITION_BY = ["release"]
# Half a minute of 1,500 rows a second with the store away, at about 1 kB a row in memory.
MAX_PENDING = 50_000
# Rows of one append: bounds the time that building the Arrow batch holds the interpreter.
MAX_APPEND = 5_000
# Waits after a failed append: doubling from the first to the last of these seconds.
RETRY_S = (0.2, 5.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered request of one or more rows."""

    ids: list[str]
    times: list[int | None]
    values: list[list[Any]]
    predictions: list[float]
    served_at: int
    """Microseconds since the epoch."""
    arm: str
    latency_ms: float


class PredictionLog:
    """`add` from the event loop never blocks; `start` and `close` frame the writing thread.

    What kill -9 can lose: an answer waits at most `flush_s` until its append has finished, as long as an append takes less than
    half of `flush_s`; a slower store adds the time that its append takes.
    """

    def __init__(self, tables: Tables, signature: Signature, release: str, *, flush_s: float, bound: int = MAX_PENDING) -> None:
        self._tables, self._signature, self._release = tables, signature, release
        self._flush_s, self._bound = flush_s, bound
        self._queue: deque[Entry] = deque()
        # Each is written by one thread only, so that no lock stands between an answer and the next.
        self._added = 0
        self._settled = 0
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._table: DeltaTable | None = None
        self._commit_s = 0.0
        self._writer = f"{release}/{secrets.token_hex(6)}"
        self._appends = 0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self.metrics: Metrics | None = None

    def pending(self) -> int:
        """Rows that are answered and not yet in the table."""
        return self._added - self._settled

    def start(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Queue one answer; over the bound it is dropped and counted as lost."""
        rows = len(entry.ids)
        if self.pending() + rows > self._bound:
            if self.metrics:
                self.metrics.lost.inc(rows)
            return
        self._added += rows
        self._queue.append(entry)

    def close(self, within_s: float) -> int:
        """Write what is left, for at most `within_s` seconds; returns the rows that were lost."""
        self._deadline = time.monotonic() + within_s
        self._closing.set()
        self._thread.join(within_s)
        lost = self.pending()
        if lost and self.metrics:
            self.metrics.lost.inc(lost)
        return lost

    def _run(self) -> None:
        retry_s = RETRY_S[0]
        batch: list[Entry] = []
        while not self._is_over(batch):
            batch = batch or self._take()
            began = time.monotonic()
            if not batch or self._write(batch):
                batch, retry_s = [], RETRY_S[0]
                self._closing.wait(self._pause(began))
                continue
            # A stale or torn view of the table must not outlive the failure.
            self._table = None
            if self._closing.is_set():
                time.sleep(RETRY_S[0])
            else:
                self._closing.wait(retry_s)
                retry_s = min(retry_s * 2, RETRY_S[1])

    def _is_over(self, batch: list[Entry]) -> bool:
        nothing_left = not (batch or self._queue)
        return self._closing.is_set() and (nothing_left or time.monotonic() > self._deadline)

    def _pause(self, began: float) -> float:
        """Until the next append must begin, so that it has ended `flush_s` after this one began."""
        if len(self._queue) >= MAX_APPEND:
            return 0.0
        interval = max(self._flush_s - 2 * self._commit_s, self._flush_s / 2)
        return max(0.0, began + interval - time.monotonic())

    def _take(self) -> list[Entry]:
        taken: list[Entry] = []
        rows = 0
        while self._queue and rows < MAX_APPEND:
            taken.append(self._queue.popleft())
            rows += len(taken[-1].ids)
        return taken

    def _write(self, batch: list[Entry]) -> bool:
        """One append; True when it is durable."""
        began = time.monotonic()
        rows = sum(len(entry.ids) for entry in batch)
        try:
            self._append(batch)
        except Exception as error:  # delta-rs and the store raise many classes, and this thread must outlive them all
            line = next(iter(str(error).splitlines()), "")[:200]
            sys.stderr.write(f"prediction log: {rows} rows wait ({type(error).__name__}: {line})\n")
            if self.metrics:
                self.metrics.commits_failed.inc()
            return False
        self._settled += rows
        took = time.monotonic() - began
        self._commit_s = max(took, 0.8 * self._commit_s)
        if self.metrics:
            self.metrics.written.inc(rows)
            self.metrics.commits_ok.inc()
            self.metrics.commit_seconds.observe(took)
        return True

    def _append(self, batch: list[Entry]) -> None:
        """Append once: the commit carries this writer's name and number, by which a retry sees that it is there already."""
        from deltalake import CommitProperties, Transaction, write_deltalake

        table = self._table = self._table or self._tables.open(TABLE)
        if table is None or table.transaction_version(self._writer) != self._appends:
            write_deltalake(
                # Through the table that is open already, an append reads only the commits since the last one.
                self._tables.uri(TABLE) if table is None else table,
                to_arrow(batch, self._signature, self._release),
                mode="append",
                schema_mode="merge",
                partition_by=PARTITION_BY,
                storage_options=self._tables.options() if table is None else None,
                commit_properties=CommitProperties(app_transactions=[Transaction(self._writer, self._appends)]),
            )
        self._appends += 1


def to_arrow(batch: list[Entry], signature: Signature, release: str) -> "RecordBatch":
    """The rows of `predictions`: request_id, event_time, served_at, release, arm, features, prediction, latency_ms."""
    from arro3.core import Array, DataType, Field, RecordBatch, Schema, struct_array

    text, number, moment = DataType.utf8(), DataType.float64(), DataType.timestamp("us", tz="UTC")

    def spread(of: str) -> list[Any]:
        return [getattr(entry, of) for entry in batch for _ in entry.ids]

    def moments(values: list[int | None]) -> Array:
        return Array(values, DataType.int64()).cast(moment)

    rows = [row for entry in batch for row in entry.values]
    kinds = [text if feature.kind == "categorical" else number for feature in signature.features]
    columns = [Array([row[index] for row in rows], kind) for index, kind in enumerate(kinds)]
    fields = [Field(name, kind, nullable=True) for name, kind in zip(signature.names, kinds, strict=True)]
    arrays = {
        "request_id": Array([identity for entry in batch for identity in entry.ids], text),
        "event_time": moments([at for entry in batch for at in entry.times]),
        "served_at": moments(spread("served_at")),
        "release": Array([release] * len(rows), text),
        "arm": Array(spread("arm"), text),
        "features": struct_array(columns, fields=fields),
        "prediction": Array([value for entry in batch for value in entry.predictions], number),
        "latency_ms": Array(spread("latency_ms"), number),
    }
    schema = Schema([Field(name, array.type, nullable=True) for name, array in arrays.items()])
    return RecordBatch.from_arrays(list(arrays.values()), schema=schema)
