"""Are the inputs what they claim to be? Findings a column: missing, out of bounds, unseen, stuck, skewed; and lost rows.

A fault is something to mend in a feed. That the world has changed is no fault: `drift` and `concept`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from pipelines.model import Feature
from pipelines.monitoring.blocks import Floats

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
    # A day with under a fifth of the usual rows has lost its callers; Sundays and holidays are well above.
    day_volume: float = 0.2
    # One lost day in a month happens (an airport closes for a storm); more than a tenth of them is a lost feed.
    lost_days: float = 0.1
    # A day whose column is missing from nine rows in ten has lost its feed, when no day of the reference ever had that.
    day_nulls: float = 0.9


# A share of fewer rows a day is noise.
DAY_ROWS = 20
# Fewer joined rows than this say nothing about skew.
JOINED_ROWS = 50


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


@dataclass(frozen=True)
class QualityVerdict:
    rows: int
    checked: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.fault)

    @property
    def faulty_columns(self) -> tuple[str, ...]:
        return tuple(sorted({finding.column for finding in self.faults}))


def judge(
    current: pl.DataFrame,
    features: Sequence[Feature],
    *,
    time: str,
    source: str = "served",
    reference: pl.DataFrame | None = None,
    policy: QualityPolicy | None = None,
) -> QualityVerdict:
    """Check the feature columns of one month against their promises, and against `reference` where it tells what is usual."""
    policy = policy or QualityPolicy()
    if not current.height:
        return QualityVerdict(0)
    findings = list(_volume(current, time, source, policy))
    # Four tests a column share the error rate (Bonferroni): few, and a fault is never subtle.
    alpha = policy.alpha / (4 * max(1, len(features)))
    for feature in features:
        try:
            findings += _column(current, feature, time, source, reference, policy, alpha)
        except Exception as error:  # one column's fault must not hide the others'
            text = f"{feature.name} could not be checked: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            findings.append(Finding(source, feature.name, "error", 1.0, 0.0, text))
    return QualityVerdict(current.height, tuple(feature.name for feature in features), tuple(findings))


def skew(
    served: pl.DataFrame,
    recomputed: pl.DataFrame,
    features: Sequence[Feature],
    *,
    key: str,
    policy: QualityPolicy | None = None,
) -> tuple[int, tuple[Finding, ...]]:
    """Compare what was served with what the batch says of the same requests: rows compared, findings a column that differs.

    Finds a feed in wrong units where no bound does: the same request cannot have two temperatures.
    """
    policy = policy or QualityPolicy()
    both = served.join(recomputed, on=key, how="inner", suffix="_batch")
    if both.height < JOINED_ROWS:
        return both.height, ()
    alpha = policy.alpha / max(1, len(features))
    findings = []
    for feature in features:
        if not {feature.name, f"{feature.name}_batch"} <= set(both.columns):
            continue
        ours, theirs = pl.col(feature.name), pl.col(f"{feature.name}_batch")
        if feature.kind == "categorical":
            differs = ours.cast(pl.String).ne_missing(theirs.cast(pl.String))
        else:
            ours, theirs = (column.cast(pl.Float64, strict=False).fill_nan(None) for column in (ours, theirs))
            tolerance = policy.skew_tolerance * theirs.std().fill_null(0.0) + 1e-9
            differs = (ours.is_null() != theirs.is_null()) | ((ours - theirs).abs() > tolerance).fill_null(False)
        count = int(both.select(differs.sum()).item())
        if certainly_over(count, both.height, policy.skew, alpha):
            share = count / both.height
            text = f"{feature.name} as served differs from the month's batch in {share:.0%} of {both.height:,} requests"
            findings.append(Finding("served", feature.name, "skew", share, policy.skew, text))
    return both.height, tuple(findings)


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
    limit = before + policy.null_jump if feature.nullable else max(policy.nulls, 2 * before)
    if certainly_over(nulls, rows, limit, alpha):
        text = (
            f"{name} is missing from {nulls / rows:.1%} of rows; {'usual' if usual is not None else 'allowed'} is {before:.1%}"
        )
        found.append(Finding(source, name, "nulls", nulls / rows, limit, text))
    elif nulls:
        found += _null_days(frame, values, reference, usual, feature, time, source, policy)
    if feature.kind == "categorical":
        found += _unseen(values, feature, source, policy, alpha)
    else:
        found += _bounds(values, feature, source, policy, alpha)
    if usual is not None and rows >= DAY_ROWS and values.n_unique() == 1 and usual.drop_nulls().n_unique() > 1:
        text = f"{name} is stuck at {values.drop_nulls()[0]!r}; it varied in the reference"
        found.append(Finding(source, name, "constant", 1.0, 0.0, text))
    return found


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


def _volume(frame: pl.DataFrame, time: str, source: str, policy: QualityPolicy) -> list[Finding]:
    """Days between the first and the last on which rows stayed away."""
    counts = _counts(frame[time])
    usual = float(np.median(counts[counts > 0])) if len(counts) else 0.0
    if usual < DAY_ROWS:
        return []
    lost = int((counts < policy.day_volume * usual).sum())
    share = lost / len(counts)
    if share <= policy.lost_days:
        return []
    text = f"{lost} of {len(counts)} days have under {policy.day_volume:.0%} of the usual {usual:,.0f} rows"
    return [Finding(source, "(rows)", "volume", share, policy.lost_days, text)]


def _counts(time: pl.Series) -> Floats:
    days = time.drop_nulls().dt.epoch("d").to_numpy()
    return np.bincount(days - days.min()).astype(np.float64) if len(days) else np.zeros(0)
