"""Requests that champion and candidate both answered, and what their labels say: paired losses in blocks of event hours.

Frames in, blocks out; where the rows come from is `evidence`, what the blocks prove is `canary`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from pipelines.model import Floats

    Loss = Callable[[Floats, Floats], Floats]

# Rows that may wait for a partner or a label, each some 60 bytes; beyond it the oldest are let go.
WAITING = 1_000_000


@dataclass(frozen=True)
class Block:
    """Mean paired loss difference (candidate - champion) of some event hours, and the bounds it was sure to lie in, which the
    two predictions alone give: they were known before any label."""

    pairs: int
    difference: float
    low: float
    high: float


@dataclass
class Pairs:
    """Joins what arrives, in any order, by request id. `loss` is `Model.loss`."""

    loss: "Loss"
    block_pairs: int
    label_lag: timedelta
    answered: int = 0
    """Requests that both answered."""
    judged: int = 0
    """Of those, how many have a label."""
    max_difference: float = 0.0
    _sum_difference: float = 0.0
    _binary: bool = True
    _live: "pl.DataFrame | None" = None
    _shadow: "pl.DataFrame | None" = None
    _paired: "pl.DataFrame | None" = None
    _labels: "pl.DataFrame | None" = None
    _open: "pl.DataFrame | None" = None
    _watermark: datetime = datetime.min.replace(tzinfo=UTC)

    @property
    def mean_difference(self) -> float:
        """Mean of |candidate - champion| over the requests that both answered."""
        return self._sum_difference / self.answered if self.answered else 0.0

    def add(
        self, live: "pl.DataFrame | None", shadow: "pl.DataFrame | None", labels: "pl.DataFrame | None"
    ) -> tuple[Block, ...]:
        """Take new rows in; returns the blocks that they closed.

        live: request_id, event_time (champion's answers to callers), prediction; shadow: request_id, prediction (candidate's
        answers to copies); labels: request_id, label, known_at.
        """
        import polars as pl

        self._live, self._shadow, paired = _join(_stack(self._live, live), _stack(self._shadow, shadow), "_candidate")
        if paired is not None:
            gap = (paired["prediction_candidate"] - paired["prediction"]).abs()
            self.answered += paired.height
            self._sum_difference += float(gap.sum())
            self.max_difference = max([self.max_difference, *gap.top_k(1).to_list()])
        self._paired, self._labels, judged = _join(_stack(self._paired, paired), _stack(self._labels, labels), "_label")
        if judged is None:
            return ()
        self.judged += judged.height
        self._watermark = max([self._watermark, *judged["known_at"].top_k(1).to_list()])
        rows = self._judge(judged)
        return self._close(rows if self._open is None else pl.concat([self._open, rows]))

    def _judge(self, rows: "pl.DataFrame") -> "pl.DataFrame":
        import numpy as np
        import polars as pl

        label = rows["label"].to_numpy().astype(np.float32)
        champion = rows["prediction"].to_numpy().astype(np.float32)
        candidate = rows["prediction_candidate"].to_numpy().astype(np.float32)

        def difference(truth: "Floats") -> "Floats":
            return self.loss(truth, candidate) - self.loss(truth, champion)

        self._binary = self._binary and bool(np.isin(label, (0.0, 1.0)).all())
        if self._binary:
            ends = np.stack([difference(np.zeros_like(label)), difference(np.ones_like(label))])
            low, high = ends.min(axis=0), ends.max(axis=0)
        else:
            # Of an outcome that is not yes or no, the loss is known to lie in [0, 1] and no more.
            low, high = np.full_like(label, -1.0), np.ones_like(label)
        return pl.DataFrame(
            {
                "hour": rows["event_time"].dt.truncate("1h"),
                "known_at": rows["known_at"],
                "difference": difference(label),
                "low": low,
                "high": high,
            }
        )

    def _close(self, rows: "pl.DataFrame") -> tuple[Block, ...]:
        """Cut the hours whose labels are due into blocks. The cuts depend on times and counts only, never on a loss."""
        import polars as pl

        due = pl.col("hour") <= self._watermark - self.label_lag - timedelta(hours=1)
        blocks, gathered = [], rows.clear()
        for hour in rows.filter(due).sort("hour").partition_by("hour", maintain_order=True):
            gathered = pl.concat([gathered, hour])
            if gathered.height >= self.block_pairs:
                means = [float(gathered[name].sum()) / gathered.height for name in ("difference", "low", "high")]
                blocks.append(Block(gathered.height, *means))
                gathered = rows.clear()
        self._open = pl.concat([gathered, rows.filter(~due)])
        return tuple(blocks)


def _stack(old: "pl.DataFrame | None", new: "pl.DataFrame | None") -> "pl.DataFrame | None":
    import polars as pl

    if old is None or new is None or new.is_empty():
        return new if old is None else old
    return pl.concat([old, new]).tail(WAITING)


def _join(
    left: "pl.DataFrame | None", right: "pl.DataFrame | None", suffix: str
) -> "tuple[pl.DataFrame | None, pl.DataFrame | None, pl.DataFrame | None]":
    """What is left waiting on both sides, and the rows that met. A request id counts once: its first row stands."""
    if left is None or right is None:
        return left, right, None
    left, right = (side.unique("request_id", keep="first", maintain_order=True) for side in (left, right))
    met = left.join(right, on="request_id", suffix=suffix)
    if met.is_empty():
        return left, right, None
    return left.join(met, on="request_id", how="anti"), right.join(met, on="request_id", how="anti"), met
