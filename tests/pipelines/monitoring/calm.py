"""Months in which nothing moves but each day's luck: twenty columns of rows that come in correlated days. Seeded."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl

from pipelines.model import Feature

NUMBERS, CATEGORIES = 16, 4
FEATURES = (
    *(Feature(name=f"number{index}") for index in range(NUMBERS)),
    *(Feature(name=f"category{index}", kind="categorical") for index in range(CATEGORIES)),
)
TIME = "moment"
NAMES = np.array(["ant", "bee", "cat", "dog", "eel"])
CUTS = [-1.2, -0.2, 0.5, 1.6]


def month(rng: np.random.Generator, rows: Sequence[int], *, luck: float = 0.3, shift: float = 0.0) -> pl.DataFrame:
    """`rows` a day. `luck`: how far a day moves a whole column, in standard deviations of its rows; `shift` moves number0."""
    day = np.repeat(np.arange(len(rows)), rows)
    values = rng.normal(size=(len(day), NUMBERS + CATEGORIES)) + luck * rng.normal(size=(len(rows), NUMBERS + CATEGORIES))[day]
    values[:, 0] += shift
    start = np.datetime64(datetime(2013, 1, 1, tzinfo=UTC).replace(tzinfo=None), "us")
    moments = start + day.astype("timedelta64[D]") + rng.integers(0, 86_400, len(day)).astype("timedelta64[s]")
    numbers = {f"number{index}": values[:, index] for index in range(NUMBERS)}
    texts = {f"category{index}": NAMES[np.searchsorted(CUTS, values[:, NUMBERS + index])] for index in range(CATEGORIES)}
    return pl.DataFrame({TIME: moments.astype("datetime64[us]"), **numbers, **texts})
