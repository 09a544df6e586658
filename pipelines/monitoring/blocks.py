"""Tests whose unit is the day, not the row: rows of one day share its weather, so row-level tests call every month new.

Sums a day go in, differences with family-wise adjusted p-values come out. What the sums mean belongs to the callers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# 999 permutations resolve p = 0.001, a fiftieth of the error rate of 5 % that the verdicts use.
PERMUTATIONS = 999
# A week: with fewer days on a side, a day's luck and a change cannot be told apart.
MIN_DAYS = 7
# Days that the pooled variance counts for in each side's own. A cell that is rare and comes in clusters (snow) can have no
# variance at all on one side; without this its statistic explodes, and it takes the power from every other column.
PRIOR_DAYS = 3.0
TINY = 1e-12


@dataclass(frozen=True)
class Blocks:
    """Sums a day and cell: `total` [days, cells] of the measured quantity over `weight` [days, cells] rows."""

    total: Floats
    weight: Floats

    @property
    def days(self) -> int:
        return len(self.total)

    def even(self) -> "Blocks":
        """The same, weights scaled to mean 1 a day: a side with a tenth of the traffic has days that count as much."""
        weight = self.weight.mean(axis=0)
        scale = np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)
        return Blocks(self.total * scale, self.weight * scale)


@dataclass(frozen=True)
class Compared:
    """A difference, its standard error (by days) and the statistic a cell; an adjusted p-value a family of cells."""

    difference: Floats
    error: Floats
    statistic: Floats
    p: Floats


def day_index(days: NDArray[np.datetime64], block_days: int = 1) -> tuple[Ints, int]:
    """Block number of each row, 0 to blocks - 1 in order of time, and the number of blocks; empty days have none."""
    if not len(days):
        return np.zeros(0, dtype=np.int64), 0
    number = days.astype("datetime64[D]").astype(np.int64) // block_days
    number -= number.min()
    present = np.bincount(number) > 0
    return (np.cumsum(present) - 1)[number], int(present.sum())


def cell_counts(day: Ints, days: int, cell: Ints, cells: int) -> Floats:
    """Counts [days, cells] of rows that lie in one cell each."""
    flat = np.bincount(day * cells + cell, minlength=days * cells)
    return flat.astype(np.float64).reshape(days, cells)


def two_sample(reference: Blocks, current: Blocks, family: Ints, *, seed: int, permutations: int = PERMUTATIONS) -> Compared:
    """Current minus reference: a studentised permutation test of whole days (Janssen 1997; Chung and Romano 2013).

    `family` [cells] numbers the cells' families from 0, ascending. The p-value of a family is that of its largest statistic,
    adjusted over all families by step-down max-T (Westfall and Young 1993), which keeps the family-wise error rate and uses
    that columns move together. Exact where days are exchangeable; studentised, so that sides may differ in noise.
    """
    before, after = reference.even(), current.even()
    total, weight = np.vstack([after.total, before.total]), np.vstack([after.weight, before.weight])
    labels = _labels(after.days, len(total), permutations, seed)
    mean = total.sum(axis=0) / np.maximum(weight.sum(axis=0), TINY)
    pooled = ((total - mean * weight) ** 2).sum(axis=0) / max(len(total) - 1, 1)
    square, cross, weights = total**2, total * weight, weight**2
    columns = (total, weight, square, cross, weights)
    ours = [labels @ column for column in columns]
    theirs = [column.sum(axis=0) - part for column, part in zip(columns, ours, strict=True)]
    mean_after, variance_after = _ratio(ours, after.days, pooled)
    mean_before, variance_before = _ratio(theirs, before.days, pooled)
    difference = mean_after - mean_before
    error = np.sqrt(variance_after + variance_before)
    statistic = np.divide(np.abs(difference), error, out=np.zeros_like(error), where=error > TINY)
    return Compared(difference[0], error[0], statistic[0], step_down(_family_max(statistic, family)))


def step_down(statistic: Floats) -> Floats:
    """Adjusted p-values [families] from statistics [1 + permutations, families], the observed ones in row 0."""
    observed, drawn = statistic[0], statistic[1:]
    order = np.argsort(-observed, kind="stable")
    # The largest statistic must beat the largest of all columns; the next one only that of those not yet decided.
    successive = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
    p = (1 + (successive >= observed[order] - TINY).sum(axis=0)) / (1 + len(drawn))
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def _family_max(statistic: Floats, family: Ints) -> Floats:
    starts = np.flatnonzero(np.diff(family, prepend=-1))
    largest: Floats = np.maximum.reduceat(statistic, starts, axis=1)
    return largest


def _labels(ours: int, days: int, permutations: int, seed: int) -> Floats:
    """Rows of `ours` ones among `days`: the observed split first, then random ones."""
    order = np.random.default_rng(seed).random((permutations, days)).argsort(axis=1)
    labels = np.zeros((permutations + 1, days))
    labels[0, :ours] = 1.0
    np.put_along_axis(labels[1:], order[:, :ours], 1.0, axis=1)
    return labels


def _ratio(sums: list[Floats], days: int, pooled: Floats) -> tuple[Floats, Floats]:
    """Mean and its cluster-robust variance from sums over days; the variance shrunk towards the pooled one a day."""
    total, weight, square, cross, weights = sums
    weight = np.maximum(weight, TINY)
    mean = total / weight
    spread = np.maximum(square - 2 * mean * cross + mean**2 * weights, 0.0)
    variance = spread * (days / max(days - 1, 1)) / weight**2
    return mean, (days * variance + PRIOR_DAYS * pooled / days) / (days + PRIOR_DAYS)
