"""Has the world changed, inputs held fixed? Outcomes against predictions, stratum by stratum of the prediction. Pure.

Where only the inputs move, a calibrated model stays right in every stratum; where P(y|x) moves, outcome and prediction part.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.monitoring.clusters import NEEDED, Mean, by_day

if TYPE_CHECKING:
    import polars as pl

STRATA = 4
"""Quarters of the prediction: enough to see a change that cancels out in the mean, few enough to have rows."""
MIN_GAP = 0.03
"""Outcome and prediction must part by three points before it is called a change: less seldom moves a decision."""
ALPHA = 0.05


@dataclass(frozen=True)
class Gap:
    """Mean outcome minus mean prediction in one stratum, and the p adjusted over all strata (Holm)."""

    stratum: str
    gap: Mean
    p: float


@dataclass(frozen=True)
class Concept:
    """`changed` when a gap is certain and large; `decided` is False where there is too little to judge by."""

    decided: bool
    changed: bool
    gaps: tuple[Gap, ...]
    reason: str


def judge(frame: "pl.DataFrame") -> Concept:
    """`frame`: labelled served rows with `prediction`, `label`, `event_time`."""
    import numpy as np
    import polars as pl

    known = frame.filter(pl.col("label").is_not_null())
    residual = (known["label"] - known["prediction"]).to_numpy().astype(np.float64)
    days = known["event_time"].dt.date().to_numpy()
    overall = by_day(residual, days)
    if not overall.enough:
        return Concept(False, False, (), f"{overall.rows:,} outcomes on {overall.days} days; {NEEDED}")
    prediction = known["prediction"].to_numpy()
    edges = np.quantile(prediction, [step / STRATA for step in range(1, STRATA)])
    stratum = np.searchsorted(edges, prediction, side="right")
    parts = {"all": overall}
    for number in range(STRATA):
        here = stratum == number
        parts[f"quarter {number + 1} of the predictions"] = by_day(residual[here], days[here])
    raw = {name: gap.p_beyond(MIN_GAP) for name, gap in parts.items()}
    adjusted, running = {}, 0.0
    for rank, name in enumerate(sorted(raw, key=lambda one: raw[one])):
        running = max(running, min(1.0, raw[name] * (len(raw) - rank)))
        adjusted[name] = running
    gaps = tuple(Gap(name, gap, adjusted[name]) for name, gap in parts.items())
    worst = min(gaps, key=lambda one: (one.p, -abs(one.gap.value)))
    reason = f"{worst.stratum}: outcomes are {worst.gap.value:+.1%} from the predictions (± {2 * worst.gap.error:.1%})"
    return Concept(True, worst.p < ALPHA, gaps, reason)
