"""Are the inputs what they claim to be? Findings a column: missing, out of bounds, unseen, stuck; and lost rows.

A fault is something to mend in a feed. That the world has changed is no fault: `drift` and `concept`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.model import Feature
from pipelines.monitoring.blocks import MIN_DAYS

Kind = Literal[
    "missing_column",
    "empty",
    "nulls",
    "nulls_by_day",
    "out_of_bounds",
    "unseen_category",
    "constant",
    "skew",
    "volume",
    "error",
]


@dataclass(frozen=True, kw_only=True)
class QualityPolicy:
    # One month in a hundred may be called faulty by chance: the remedy stops retraining, so it must be believed.
    alpha: float = 0.01
    # A value that should be there may be missing in one request of a hundred: sensors do drop an hour (0.1 % of flights).
    nulls: float = 0.01
    # For a nullable column, what matters is a jump over its own habit (half of the aircraft are unknown in the best month).
    null_jump: float = 0.2
    # Bounds are physical: one in a thousand is a stray reading, more is a unit or a decoder.
    out_of_bounds: float = 0.001
    # A new category (an airline that starts) is news, and a fault only when the model is blind for one request in fifty.
    unseen: float = 0.02
    # Served and recomputed values of the same request may differ by late corrections of a source.
    skew: float = 0.02
    # Differences below this share of the column's spread are rounding.
    skew_tolerance: float = 0.01
    # A value that half of the rows have anyway (no rain, clear sight) may be all that a quiet week shows.
    stuck: float = 0.5
    # A day with under a fifth of the usual rows has lost its callers; Sundays and holidays are well above.
    day_volume: float = 0.2
    # One lost day in a month happens (an airport closes for a storm); more than a tenth over the habit is a lost feed.
    lost_days: float = 0.1
    # A day whose column is missing from nine rows in ten has lost its feed, when no day of the reference ever had that.
    day_nulls: float = 0.9


# A share of fewer rows a day is noise.
DAY_ROWS = 20
# Days before and after a day that say how many rows are usual there: a week knows its Sundays.
WEEK = 7


@dataclass(frozen=True)
class Finding:
    """What is wrong with one column (or `(rows)`), where, and how much of it. `fault` is False for a note."""

    source: str
    """`served` (what callers sent) or `features` (the month's batch)."""
    column: str
    kind: Kind
    share: float
    limit: float
    text: str
    fault: bool = True


def judge(
    current: pl.DataFrame,
    features: Sequence[Feature],
    *,
    time: str,
    source: str = "served",
    reference: pl.DataFrame | None = None,
    policy: QualityPolicy | None = None,
) -> tuple[Finding, ...]:
    """Check the feature columns of one month against their promises, and against `reference` where it tells what is usual."""
    policy = policy or QualityPolicy()
    if not current.height:
        return ()
    findings = _volume(current[time], None if reference is None else reference[time], source, policy)
    # Four tests a column share the error rate (Bonferroni): few, and a fault is never subtle.
    alpha = policy.alpha / (4 * max(1, len(features)))
    for feature in features:
        try:
            findings += _column(current, feature, time, source, reference, policy, alpha)
        except Exception as error:  # one column's fault must not hide the others'
            findings.append(unreadable(source, feature, error))
    return tuple(findings)


def unreadable(source: str, feature: Feature, error: Exception) -> Finding:
    """What is found of a column that cannot even be checked."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return Finding(source, feature.name, "error", 1.0, 0.0, f"{feature.name} could not be checked: {reason}")


def certainly_over(count: int, rows: int, limit: float, alpha: float) -> bool:
    """Whether the share is above `limit` beyond chance: the exact lower confidence bound (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    if count <= limit * rows:
        return False
    return bool(beta.ppf(alpha, count, rows - count + 1) > limit)


def _column(
    frame: pl.DataFrame,
    feature: Feature,
    time: str,
    source: str,
    reference: pl.DataFrame | None,
    policy: QualityPolicy,
    alpha: float,
) -> list[Finding]:
    name, rows = feature.name, frame.height
    if name not in frame.columns:
        return [Finding(source, name, "missing_column", 1.0, 0.0, f"{name} is missing altogether")]
    values = _clean(frame[name], feature)
    usual = _clean(reference[name], feature) if reference is not None and name in reference.columns else None
    nulls = values.null_count()
    before = usual.null_count() / len(usual) if usual is not None and len(usual) else 0.0
    if nulls == rows:
        # A column that never had a value is a note; one that lost all is a fault.
        fault = before < 1.0 if usual is not None else not feature.nullable
        return [Finding(source, name, "empty", 1.0, before, f"{name} has no value in any of {rows:,} rows", fault)]
    found = []
    limit = max(policy.nulls, 2 * before)
    if feature.nullable:
        # How much of such a column is missing anyway, only the reference knows, and not of a single day.
        tells = usual is not None and frame[time].dt.date().n_unique() >= MIN_DAYS
        limit = before + policy.null_jump if tells else 1.0
    if certainly_over(nulls, rows, limit, alpha):
        text = f"{name} is missing from {nulls / rows:.1%} of rows" + (f"; usual is {before:.1%}" if usual is not None else "")
        found.append(Finding(source, name, "nulls", nulls / rows, limit, text))
    elif nulls:
        found += _null_days(frame, values, reference, usual, feature, time, source, policy)
    if feature.kind == "categorical":
        found += _unseen(values, feature, source, policy, alpha)
    else:
        found += _bounds(values, feature, source, policy, alpha)
    return found if usual is None else found + _stuck(values, usual, frame[time], feature, source, policy)


def _clean(column: pl.Series, feature: Feature) -> pl.Series:
    """The column in its own type; what cannot be read as such is as good as missing."""
    if feature.kind == "categorical":
        return column.cast(pl.String)
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _bounds(values: pl.Series, feature: Feature, source: str, policy: QualityPolicy, alpha: float) -> list[Finding]:
    low = feature.low if feature.low is not None else -np.inf
    high = feature.high if feature.high is not None else np.inf
    outside = values.filter((values < low) | (values > high) | values.is_infinite())
    present = len(values) - values.null_count()
    if not certainly_over(len(outside), present, policy.out_of_bounds, alpha):
        return []
    share = len(outside) / present
    text = f"{feature.name} is outside [{low:g}, {high:g}] {feature.unit} in {share:.1%} of rows (such as {outside[0]:g})"
    return [Finding(source, feature.name, "out_of_bounds", share, policy.out_of_bounds, text)]


def _unseen(values: pl.Series, feature: Feature, source: str, policy: QualityPolicy, alpha: float) -> list[Finding]:
    present = values.drop_nulls()
    unseen = present.filter(~present.is_in(list(feature.categories))) if feature.categories else present.clear()
    if not len(unseen):
        return []
    share = len(unseen) / len(present)
    fault = certainly_over(len(unseen), len(present), policy.unseen, alpha)
    some = ", ".join(repr(value) for value in unseen.unique().sort().head(3))
    text = f"{feature.name} has categories the model does not know ({some}) in {share:.1%} of rows"
    return [Finding(source, feature.name, "unseen_category", share, policy.unseen, text, fault)]


def _stuck(
    values: pl.Series, usual: pl.Series, time: pl.Series, feature: Feature, source: str, policy: QualityPolicy
) -> list[Finding]:
    """One value over a week or more, in a column that varies otherwise. Within a day, much stands still that is no fault."""
    present, known = values.drop_nulls(), usual.drop_nulls()
    if present.n_unique() != 1 or time.filter(values.is_not_null()).dt.date().n_unique() < MIN_DAYS or not len(known):
        return []
    share = int((known == present[0]).sum()) / len(known)
    if share >= policy.stuck:
        return []
    text = f"{feature.name} is stuck at {present[0]!r}; in the reference {share:.0%} of rows have that value"
    return [Finding(source, feature.name, "constant", 1.0, policy.stuck, text)]


def _null_days(
    frame: pl.DataFrame,
    values: pl.Series,
    reference: pl.DataFrame | None,
    usual: pl.Series | None,
    feature: Feature,
    time: str,
    source: str,
    policy: QualityPolicy,
) -> list[Finding]:
    """Days on which a feed was away, though its month looks fine."""
    worst = _by_day(frame[time], values)
    if reference is not None and usual is not None and time in reference.columns and usual.null_count():
        known = _by_day(reference[time], usual)
        if known.height and float(known["share"].max()) >= policy.day_nulls:  # type: ignore[arg-type]
            return []
    away = worst.filter(pl.col("share") >= policy.day_nulls)
    if not away.height:
        return []
    days = ", ".join(str(day) for day in away["day"].sort().head(3))
    text = f"{feature.name} is missing on {away.height} whole day(s): {days}"
    return [Finding(source, feature.name, "nulls_by_day", away.height / worst.height, 0.0, text)]


def _by_day(time: pl.Series, values: pl.Series) -> pl.DataFrame:
    days = pl.DataFrame({"day": time.dt.date(), "null": values.is_null()})
    shares = days.group_by("day").agg(pl.len(), pl.col("null").mean().alias("share"))
    return shares.filter(pl.col("len") >= DAY_ROWS)


def _volume(time: pl.Series, usual: pl.Series | None, source: str, policy: QualityPolicy) -> list[Finding]:
    """Days between the first and the last on which rows stayed away, more of them than in the reference."""
    rows, lost = _lost(time, policy)
    habit = _share(_lost(usual, policy)[1]) if usual is not None else 0.0
    if _share(lost) - habit <= policy.lost_days:
        return []
    text = f"{int(lost.sum())} of {len(lost)} days have under {policy.day_volume:.0%} of the usual {rows:,.0f} rows"
    return [Finding(source, "(rows)", "volume", _share(lost), habit + policy.lost_days, text)]


def _lost(time: pl.Series, policy: QualityPolicy) -> tuple[float, NDArray[np.bool_]]:
    """The usual rows a day, and which days have a fraction of what both the week before and the week after have.

    Of both, because a level that changes and stays is a rollout's doing: a canary's rows are a twentieth of all at first.
    """
    days = time.drop_nulls().dt.epoch("d").to_numpy()
    counts = np.bincount(days - days.min()) if len(days) else np.zeros(0, dtype=np.int64)
    there = np.flatnonzero(counts)
    usual = float(np.median(counts[there])) if len(there) else 0.0
    lost = np.zeros(len(counts), dtype=bool)
    if usual < DAY_ROWS:
        return usual, lost
    for day in range(1, len(counts) - 1):
        before, after = counts[there[there < day][-WEEK:]], counts[there[there > day][:WEEK]]
        lost[day] = counts[day] < policy.day_volume * min(np.median(before), np.median(after))
    return usual, lost


def _share(marked: NDArray[np.bool_]) -> float:
    return float(marked.mean()) if len(marked) else 0.0
