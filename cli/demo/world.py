"""The outside world of the demo: callers who ask for predictions, and outcomes that become known later.

It holds the simulated clock (the event time of the last request sent). The platform knows none of this; it sees requests
at its gateway and rows in its `labels` table.
"""

import asyncio
import heapq
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.model import Model
from pipelines.tables import Tables

RATE, QUIET_RATE = 400, 800
"""Requests a second at most, with a release in flight and without: the platform has little to do beside a quiet month."""
CONCURRENCY = 8
QUIET_STRIDE = 12
"""With no release in flight every twelfth row calls: of the flights some 2,300 a month, enough to judge a month by."""
LABEL_FLUSH_S = 0.7
TIMEOUT_S = 10.0

Fault = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Tally:
    """What the callers saw. `failures` holds the first few reasons in words."""

    sent: int = 0
    failed: int = 0
    by_release: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)


class World:
    """Replays a month's rows as live traffic, in a thread of its own. One replay at a time."""

    def __init__(self, model: Model, tables: Tables, url: str) -> None:
        self.model, self.tables, self.url = model, tables, url
        self.tally = Tally()
        self.dense = False
        """True: every row calls (a release needs evidence); False: one in QUIET_STRIDE."""
        self.fault: Fault | None = None
        self.now: datetime | None = None
        self._pending: list[tuple[datetime, str, float]] = []
        self._known: list[tuple[str, float, datetime]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._months: dict[str, list[dict[str, Any]]] = {}
        self._preparing = threading.Lock()

    def rows(self, partition: str) -> list[dict[str, Any]]:
        """The month's requests in event order: id, time, features, and the outcome with the moment it is known."""
        with self._preparing:
            if partition not in self._months:
                self._months = {partition: self._requests(partition)}
            return self._months[partition]

    def _requests(self, partition: str) -> list[dict[str, Any]]:
        frame = month_features(self.model, partition).sort(self.model.event_time)
        names = [feature.name for feature in self.model.features]
        return [
            {
                "id": row[self.model.entity],
                "time": row[self.model.event_time],
                "features": {name: row[name] for name in names},
                "label": row[self.model.label],
                "known": row[self.model.label_time],
            }
            for row in frame.iter_rows(named=True)
        ]

    def prepare(self, partition: str) -> None:
        """Make a month's requests while something else is waited for; returns at once."""
        threading.Thread(target=self.rows, args=(partition,), name="world-prepares", daemon=True).start()

    def start(self, partition: str) -> None:
        """Begin to replay a month; returns at once."""
        self.wait()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(partition,), name="world", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Return when the month has been replayed. Raises what the replay raised."""
        if self._thread is not None:
            while self._thread.is_alive():
                self._thread.join(0.2)
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def stop(self) -> None:
        """End the replay after the requests under way."""
        self._stop.set()
        self.wait()

    def settle(self) -> None:
        """The month has ended: every outcome still pending becomes known."""
        self._known += [(identity, label, known) for known, identity, label in self._pending]
        self._pending = []
        self._flush()

    def _run(self, partition: str) -> None:
        try:
            asyncio.run(self._replay(self.rows(partition)))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error

    def _chosen(self, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        skipped = 0
        for row in rows:
            skipped += 1
            if self._stop.is_set():
                return
            if self.dense or skipped >= QUIET_STRIDE:
                skipped = 0
                yield row

    async def _replay(self, rows: list[dict[str, Any]]) -> None:
        import aiohttp

        source = self._chosen(rows)
        flushed = next_slot = time.monotonic()
        pace = asyncio.Lock()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def caller() -> None:
                nonlocal next_slot, flushed
                for row in source:
                    async with pace:
                        delay = next_slot - time.monotonic()
                        next_slot = max(next_slot, time.monotonic()) + 1 / (RATE if self.dense else QUIET_RATE)
                        if delay > 0:
                            await asyncio.sleep(delay)
                    await self._ask(session, row)
                    if time.monotonic() - flushed > LABEL_FLUSH_S:
                        flushed = time.monotonic()
                        await asyncio.to_thread(self._flush)

            await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
        self._flush()

    async def _ask(self, session: Any, row: dict[str, Any]) -> None:
        features = self.fault(dict(row["features"])) if self.fault else row["features"]
        body = {"requests": [{"id": row["id"], "time": row["time"].isoformat(), "features": features}]}
        tally = self.tally
        began = time.monotonic()
        try:
            async with session.post(f"{self.url}/v1/predict", json=body, headers={"x-request-id": row["id"]}) as answer:
                if answer.status == 200:  # noqa: PLR2004 - HTTP's own number
                    release = (await answer.json())["release"]
                    tally.by_release[release] = tally.by_release.get(release, 0) + 1
                else:
                    self._failed(f"{answer.status} {(await answer.text())[:120]}")
        except Exception as error:  # noqa: BLE001 - whatever a caller sees go wrong is a failed request
            self._failed(f"{type(error).__name__}: {error}")
        tally.sent += 1
        tally.latencies_ms.append((time.monotonic() - began) * 1000)
        self.now = row["time"]
        if row["label"] is not None:
            heapq.heappush(self._pending, (row["known"], row["id"], float(row["label"])))
        while self._pending and self._pending[0][0] <= row["time"]:
            known, identity, label = heapq.heappop(self._pending)
            self._known.append((identity, label, known))

    def _failed(self, reason: str) -> None:
        self.tally.failed += 1
        if len(self.tally.failures) < 5:  # noqa: PLR2004 - enough to see what it was
            self.tally.failures.append(reason)

    def _flush(self) -> None:
        import polars as pl

        from pipelines.data.labels import append_labels

        known, self._known = self._known, []
        if known:
            schema: dict[str, Any] = {"request_id": pl.String, "label": pl.Float64, "known_at": pl.Datetime("us", "UTC")}
            append_labels(self.tables, pl.DataFrame(known, schema=schema, orient="row"))


def month_features(model: Model, partition: str) -> Any:
    """The features callers of that month send: what the upstream systems know at the moment of asking."""
    import polars as pl

    index = model.partitions.index(partition)
    deliveries = [model.deliver(name) for name in model.partitions[max(0, index - 1) : index + 1]]
    fact = model.sources[0]
    sources = {name: pl.concat([one[name] for one in deliveries]).unique(maintain_order=True) for name in model.sources}
    wanted = deliveries[-1][fact].select(model.entity)
    return model.build_features(sources).join(wanted, on=model.entity, how="semi")
