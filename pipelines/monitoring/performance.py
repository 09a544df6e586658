"""How good what was served turned out to be, once the outcomes were known, against what its evaluation promised. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.model import Model
from pipelines.monitoring.clusters import Mean, by_day

if TYPE_CHECKING:
    import polars as pl

MIN_LABELLED = 500
"""Fewer outcomes than this on a month say nothing about a loss difference of a hundredth."""
MIN_EXCESS = 0.01
"""A mean loss this far over the promised one matters: it is what a canary may not be worse by."""
ALPHA = 0.01


@dataclass(frozen=True)
class Performance:
    """The month's loss. `excess` is over the promised loss; `worse` when it is certain and matters."""

    served: int
    labelled: int
    loss: Mean
    expected: float | None
    metrics: dict[str, float]
    worse: bool
    reason: str

    @property
    def enough(self) -> bool:
        return self.labelled >= MIN_LABELLED


def judge(model: Model, frame: "pl.DataFrame", *, expected: float | None) -> Performance:
    """`frame`: served rows with `prediction`, `label` (null while unknown) and `event_time`."""
    import numpy as np
    import polars as pl

    known = frame.filter(pl.col("label").is_not_null())
    label, prediction = (known[name].to_numpy().astype(np.float32) for name in ("label", "prediction"))
    loss = by_day(model.loss(label, prediction).astype(np.float64), known["event_time"].dt.date().to_numpy())
    metrics = model.metrics(label, prediction) if known.height >= MIN_LABELLED else {}
    if expected is None or known.height < MIN_LABELLED:
        reason = f"{known.height:,} outcomes of {frame.height:,} answers; a verdict needs {MIN_LABELLED}"
        return Performance(frame.height, known.height, loss, expected, metrics, False, reason)
    excess = Mean(loss.value - expected, loss.error, loss.rows, loss.days)
    worse = excess.value > 0 and excess.p_beyond(MIN_EXCESS) < ALPHA
    reason = f"loss {loss.value:.4f} (± {2 * loss.error:.4f}), promised {expected:.4f}"
    return Performance(frame.height, known.height, loss, expected, metrics, worse, reason)
