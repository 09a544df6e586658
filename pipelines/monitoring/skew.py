"""Does what was served agree with the month's own batch? The same request cannot have two temperatures.

Finds a feed in wrong units where no bound does. Which of the two is at fault, a person must say. Pure.
"""

from collections.abc import Sequence

import polars as pl

from pipelines.model import Feature
from pipelines.monitoring.quality import Finding, QualityPolicy, certainly_over, unreadable

# Fewer requests in common than this say nothing about skew.
JOINED_ROWS = 50
BATCH = ":batch"


def judge(
    served: pl.DataFrame, batch: pl.DataFrame, features: Sequence[Feature], *, key: str, policy: QualityPolicy | None = None
) -> tuple[Finding, ...]:
    """A finding a feature that differs between the rows of the same request (`key`), beyond rounding and late corrections."""
    policy = policy or QualityPolicy()
    both = served.join(batch.rename(lambda name: name if name == key else name + BATCH), on=key, how="inner")
    if both.height < JOINED_ROWS:
        return ()
    findings = []
    for feature in features:
        if not {feature.name, feature.name + BATCH} <= set(both.columns):
            continue  # a missing column is `quality`'s finding
        try:
            count = int(both.select(_differs(feature, policy).sum()).item())
        except Exception as error:  # one column's fault must not hide the others'
            findings.append(unreadable("served", feature, error))
            continue
        if certainly_over(count, both.height, policy.skew, policy.alpha / len(features)):
            share = count / both.height
            text = f"{feature.name} as served differs from the month's batch in {share:.0%} of {both.height:,} requests"
            findings.append(Finding("served", feature.name, "skew", share, policy.skew, text))
    return tuple(findings)


def _differs(feature: Feature, policy: QualityPolicy) -> pl.Expr:
    ours, theirs = pl.col(feature.name), pl.col(feature.name + BATCH)
    if feature.kind == "categorical":
        return ours.cast(pl.String).ne_missing(theirs.cast(pl.String))
    ours, theirs = (column.cast(pl.Float64, strict=False).fill_nan(None) for column in (ours, theirs))
    tolerance = policy.skew_tolerance * theirs.filter(theirs.is_finite()).std().fill_null(0.0) + 1e-9
    return (ours.is_null() != theirs.is_null()) | ((ours != theirs) & ((ours - theirs).abs() > tolerance)).fill_null(False)
