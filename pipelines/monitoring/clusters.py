"""Means whose rows come in correlated days: the mean, and how far it may be off. Pure numpy.

Liang & Zeger's cluster-robust variance of a ratio of sums, with days as clusters (Biometrika 73, 1986).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_DAYS = 8
"""Fewer days give no usable variance between days."""
MIN_ROWS = 500
"""Fewer outcomes in a month say nothing about a difference of a hundredth."""
NEEDED = f"a verdict needs {MIN_ROWS} on {MIN_DAYS} days"


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error, from `rows` rows on `days` days."""

    value: float
    error: float
    rows: int
    days: int

    @property
    def enough(self) -> bool:
        """Whether a verdict on a month can rest on it."""
        return self.rows >= MIN_ROWS and self.days >= MIN_DAYS

    def p_beyond(self, floor: float) -> float:
        """One-sided p of |mean| <= floor: small when the mean is certainly further from 0 than `floor`."""
        from scipy.stats import t

        if self.days < MIN_DAYS:
            return 1.0
        excess = abs(self.value) - floor
        if self.error == 0:  # every day says the same
            return 0.0 if excess > 0 else 1.0
        return float(t.sf(excess / self.error, self.days - 1))


def by_day(values: NDArray[Any], days: NDArray[Any]) -> Mean:
    """Mean of `values` [rows] with the standard error that `days` [rows] (any labels) as clusters give."""
    if not len(values):
        return Mean(0.0, 0.0, 0, 0)
    _, index = np.unique(days, return_inverse=True)
    total, count = np.bincount(index, weights=values), np.bincount(index)
    mean = float(total.sum() / count.sum())
    clusters = len(count)
    residual = total - mean * count
    variance = (residual**2).sum() / count.sum() ** 2 * clusters / max(1, clusters - 1)
    return Mean(mean, float(np.sqrt(variance)), int(count.sum()), clusters)
