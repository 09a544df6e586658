"""Have the inputs moved? A verdict a feature: certain (family-wise error over all columns, by days) and large enough.

Pure: frames in, verdict out. Whether moved inputs matter is `performance`, `concept` and `triage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.model import Feature
from pipelines.monitoring.blocks import MIN_DAYS, PERMUTATIONS, Blocks, Floats, Ints, cell_counts, day_index, two_sample

Days = tuple[Ints, int]
# Of all that is drawn by chance here: the same two frames always have the same verdict.
SEED = 7
# A day may have a tenth more rows than the usual one: so much differ the days of even traffic.
UNEVEN = 1.1


@dataclass(frozen=True, kw_only=True)
class DriftPolicy:
    # One month in twenty without drift may be called drifted, whatever the number of columns.
    alpha: float = 0.05
    # The effect is the share of rows that would have to take another value: the Kolmogorov-Smirnov distance of a number, the
    # total variation of a category. A tenth is a move of a bell curve by a quarter of its width; less seldom moves a loss.
    minimum_effect: float = 0.1
    # Days that belong together. One is right where a day's luck ends with the day; raise it for slow feeds.
    block_days: int = 1
    permutations: int = PERMUTATIONS


# Points of the distribution that are compared: every twentieth quantile of both sides together.
QUANTILES = tuple(step / 20 for step in range(1, 20))
# Rows that the quantiles are taken from, half a side: their own error (0.2 %) is far below any effect that counts.
QUANTILE_ROWS = 40_000
# Outside these quantiles a value counts as the quantile, so that one broken sensor reading cannot make or hide a shift.
WINSOR = (0.005, 0.995)
# A rarer category joins the others: its share a day is mostly zero, and says nothing by itself.
RARE = 0.01
OTHER, MISSING = "(other)", "(missing)"


@dataclass(frozen=True)
class ColumnDrift:
    """One column. `effect` in [0, 1], `p` adjusted over all columns."""

    name: str
    effect: float
    p: float
    certain: bool
    """The change is no chance (adjusted p within the error rate), however small it is."""
    drifted: bool
    """Certain, and at least the minimum effect."""
    where: str
    """What changed most, in words."""


@dataclass(frozen=True)
class DriftVerdict:
    """`decided` is False where there is too little to judge by; then `reason` says what is missing."""

    decided: bool
    reason: str
    columns: tuple[ColumnDrift, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """Columns that could not be judged, with the reason; the others are judged all the same."""
    rows: tuple[int, int] = (0, 0)
    """Reference and current."""
    days: tuple[int, int] = (0, 0)

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of drifted columns, the largest effect first."""
        return tuple(item.name for item in sorted(self.columns, key=lambda item: -item.effect) if item.drifted)


@dataclass(frozen=True)
class _Summary:
    """One column's cells on both sides. `points` [cells] marks those whose differences make the effect."""

    reference: Blocks
    current: Blocks
    names: tuple[str, ...]
    points: NDArray[np.bool_]
    total_variation: bool


def judge(
    reference: pl.DataFrame, current: pl.DataFrame, features: Sequence[Feature], *, time: str, policy: DriftPolicy | None = None
) -> DriftVerdict:
    """Compare the features of two frames; `time` is the column with a row's moment (its date is its block)."""
    policy = policy or DriftPolicy()
    rows = (reference.height, current.height)
    # A row without a moment belongs to no day.
    reference, current = (frame.drop_nulls(time) if frame[time].null_count() else frame for frame in (reference, current))
    (reference, earlier), (current, later) = _evened((reference, current), time, policy.block_days)
    (_, before), (_, after) = sides = [earlier, later]
    if min(before, after) < MIN_DAYS:
        reason = f"{before} days of reference and {after} of current rows; a verdict needs {MIN_DAYS} of each"
        return DriftVerdict(False, reason, rows=rows, days=(before, after))
    summaries: dict[str, _Summary] = {}
    skipped = []
    for feature in features:
        try:
            summaries[feature.name] = _summarise(feature, (reference, current), sides)
        except Exception as error:  # one column's fault must not hide the others' verdicts
            skipped.append((feature.name, str(error).splitlines()[0] if str(error) else type(error).__name__))
    if not summaries:
        return DriftVerdict(False, "no column could be judged", skipped=tuple(skipped), rows=rows, days=(before, after))
    columns = _compare(summaries, policy)
    return DriftVerdict(True, "", columns, tuple(skipped), rows, (before, after))


def _compare(summaries: dict[str, _Summary], policy: DriftPolicy) -> tuple[ColumnDrift, ...]:
    parts = list(summaries.values())
    family = np.repeat(np.arange(len(parts)), [len(part.names) for part in parts])

    def joined(side: str) -> Blocks:
        blocks = [getattr(part, side) for part in parts]
        return Blocks(np.hstack([block.total for block in blocks]), np.hstack([block.weight for block in blocks]))

    compared = two_sample(joined("reference"), joined("current"), family, seed=SEED, permutations=policy.permutations)
    columns = []
    for number, (name, part) in enumerate(summaries.items()):
        cells = family == number
        difference, p = compared.difference[cells], float(compared.p[number])
        moved = np.abs(difference) * part.points
        effect = float(moved.sum() / 2 if part.total_variation else moved.max())
        certain = p <= policy.alpha
        columns.append(
            ColumnDrift(
                name=name,
                effect=min(effect, 1.0),
                p=p,
                certain=certain,
                drifted=certain and effect >= policy.minimum_effect,
                where=_where(part.names, difference, moved),
            )
        )
    return tuple(columns)


def _where(names: tuple[str, ...], difference: Floats, moved: Floats) -> str:
    index = int(np.argmax(moved))
    return f"{names[index]}: {difference[index]:+.1%} of rows"


def _evened(frames: tuple[pl.DataFrame, pl.DataFrame], time: str, block_days: int) -> list[tuple[pl.DataFrame, Days]]:
    """Both frames with their days; rows are left out by chance, so that no day has many more than the sparser side's usual one.

    Days are exchanged between the sides, so they must be about as noisy: with nine times the rows in the reference, or in ten
    of thirty days (a canary's), 10 % of calm months alarm. Not every n-th row: where stations report in turn, that is one.
    """
    sides = [_days(frame, time, block_days) for frame in frames]
    counts = [np.bincount(day, minlength=1) for day, _ in sides]
    most = UNEVEN * min(float(np.median(count)) for count in counts)
    draw = np.random.default_rng(SEED)
    evened = []
    for frame, (day, days), count in zip(frames, sides, counts, strict=True):
        if count.max() <= most:
            evened.append((frame, (day, days)))
            continue
        left = frame.filter(draw.random(len(day)) * count[day] < most)
        evened.append((left, _days(left, time, block_days)))
    return evened


def _days(frame: pl.DataFrame, time: str, block_days: int) -> Days:
    return day_index(frame[time].dt.date().to_numpy().astype("datetime64[D]"), block_days)


def _summarise(feature: Feature, frames: tuple[pl.DataFrame, pl.DataFrame], sides: list[Days]) -> _Summary:
    for frame, side in zip(frames, ("the reference", "the current rows"), strict=True):
        if feature.name not in frame.columns:
            raise ValueError(f"the column is missing from {side}")
    columns = [frame[feature.name] for frame in frames]
    if feature.kind == "categorical":
        return _categorical(columns, sides)
    return _numeric([column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy() for column in columns], sides)


def _numeric(values: list[Floats], sides: list[Days]) -> _Summary:
    # An infinite value is no value: it has no place on a scale, and would make every mean infinite.
    present = [np.isfinite(side) for side in values]
    both = np.concatenate([_drawn(side) for side in values])
    both = both[np.isfinite(both)]
    if not len(both):
        raise ValueError("there is no value on either side")
    edges = np.unique(np.quantile(both, QUANTILES))
    low, high = np.quantile(both, WINSOR)
    clipped = np.clip(both, low, high)
    scale, centre = float(clipped.std()) or 1.0, float(clipped.mean())
    blocks = []
    for side, here, (day, days) in zip(values, present, sides, strict=True):
        # What is missing gets a bin of its own behind the last.
        code = np.where(here, np.searchsorted(edges, side), len(edges) + 1)
        counts = cell_counts(day, days, code, len(edges) + 2)
        rows = counts.sum(axis=1, keepdims=True)
        missing = counts[:, -1:]
        standard = np.where(here, (np.clip(side, low, high) - centre) / scale, 0.0)
        mean = np.bincount(day, weights=standard, minlength=days)[:, None]
        total = np.hstack([np.cumsum(counts[:, : len(edges)], axis=1), missing, mean])
        weight = np.hstack([np.repeat(rows, len(edges) + 1, axis=1), rows - missing])
        blocks.append(Blocks(total, weight))
    names = (*(f"at most {edge:.4g}" for edge in edges), MISSING, "mean")
    points = np.array([True] * (len(edges) + 1) + [False])
    return _Summary(blocks[0], blocks[1], names, points, False)


def _drawn(side: Floats) -> Floats:
    """Some of the values; by chance, because every n-th may be those of one station or one hour."""
    most = QUANTILE_ROWS // 2
    return side if len(side) <= most else side[np.random.default_rng(SEED).integers(0, len(side), most)]


def _categorical(columns: list[pl.Series], sides: list[Days]) -> _Summary:
    texts = [column.cast(pl.String) for column in columns]
    # Not under its own name: a column called "count" would meet the counts.
    counted = pl.concat(texts).alias("value").drop_nulls().value_counts(sort=True)
    if not counted.height:
        raise ValueError("there is no value on either side")
    rows = sum(len(text) for text in texts)
    names = counted.filter(pl.col("count") >= RARE * rows)["value"].to_list()
    codes = {name: code for code, name in enumerate(names)}
    other, missing = len(names), len(names) + 1
    blocks = []
    for text, (day, days) in zip(texts, sides, strict=True):
        code = text.replace_strict(codes, default=other, return_dtype=pl.Int64)
        code = pl.select(pl.when(text.is_null()).then(missing).otherwise(code)).to_series()
        counts = cell_counts(day, days, code.to_numpy(), missing + 1)
        blocks.append(Blocks(counts, np.repeat(counts.sum(axis=1, keepdims=True), missing + 1, axis=1)))
    cells = (*names, OTHER, MISSING)
    return _Summary(blocks[0], blocks[1], cells, np.ones(len(cells), dtype=bool), True)
