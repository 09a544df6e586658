"""How good what was served turned out to be, once the outcomes were known, against what its evaluation promised. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.model import Model
from pipelines.monitoring.clusters import NEEDED, Mean, by_day

if TYPE_CHECKING:
    import polars as pl

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
        return self.loss.enough


def judge(model: Model, frame: "pl.DataFrame", *, expected: float | None) -> Performance:
    """`frame`: served rows with `prediction`, `label` (null while unknown) and `event_time`."""
    import numpy as np
    import polars as pl

    known = frame.filter(pl.col("label").is_not_null())
    label, prediction = (known[name].to_numpy().astype(np.float32) for name in ("label", "prediction"))
    loss = by_day(model.loss(label, prediction).astype(np.float64), known["event_time"].dt.date().to_numpy())
    if not loss.enough:
        reason = f"{known.height:,} outcomes of {frame.height:,} answers, on {loss.days} days; {NEEDED}"
        return Performance(frame.height, known.height, loss, expected, {}, False, reason)
    metrics = model.metrics(label, prediction)
    reason = f"loss {loss.value:.4f} (± {2 * loss.error:.4f})"
    if expected is None:
        reason += ", and its evaluation promised none to compare with"
        return Performance(frame.height, known.height, loss, None, metrics, False, reason)
    excess = Mean(loss.value - expected, loss.error, loss.rows, loss.days)
    worse = excess.value > 0 and excess.p_beyond(MIN_EXCESS) < ALPHA
    return Performance(frame.height, known.height, loss, expected, metrics, worse, f"{reason}, promised {expected:.4f}")
