"""Each kind of data fault is found and named, healthy months are silent, and no fault hides another."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines.flight_delay.model import MODEL
from pipelines.flight_delay.schema import WEATHER
from pipelines.model import Feature
from pipelines.monitoring.quality import DAY_ROWS, Finding, QualityPolicy, certainly_over, judge
from tests.pipelines.monitoring.flights import features

SEED = 20135
FEATURES = (
    Feature(name="heat", unit="°F", low=-40, high=130),
    Feature(name="rain", low=0, high=6),
    Feature(name="age", low=0, high=70, nullable=True),
    Feature(name="line", kind="categorical", categories=("AA", "BB", "CC")),
)
TIME = "event_time"
HEAT, ROW = pl.col("heat"), pl.int_range(pl.len())


def month(days: int = 30, a_day: int = 100, seed: int = SEED) -> pl.DataFrame:
    """A healthy month: a third of `age` is unknown, `rain` is nought on most days."""
    rng = np.random.default_rng(seed)
    rows = days * a_day
    start = datetime(2013, 1, 1, tzinfo=UTC)
    moments = pl.datetime_range(start, start.replace(day=days, hour=23, minute=59), "1m", eager=True, time_zone="UTC")
    wet = rng.random(days) < 0.05
    return pl.DataFrame(
        {
            TIME: moments.gather(np.sort(rng.choice(len(moments), rows, replace=False))).dt.cast_time_unit("us"),
            "heat": rng.normal(60, 15, rows).clip(-30, 120),
            "rain": np.where(np.repeat(wet, a_day), rng.exponential(0.2, rows).clip(0, 5), 0.0),
            "age": [value if rng.random() > 1 / 3 else None for value in rng.integers(1, 40, rows).astype(float)],
            "line": rng.choice(["AA", "BB", "CC"], rows),
        }
    )


REFERENCE = month(seed=SEED + 1)


def found(frame: pl.DataFrame, reference: pl.DataFrame | None = REFERENCE) -> list[tuple[str, str, bool]]:
    return [(one.column, one.kind, one.fault) for one in judge(frame, FEATURES, time=TIME, reference=reference)]


def share(column: str, value: object, one_in: int) -> pl.DataFrame:
    dtype = pl.String if column == "line" else pl.Float64
    changed = pl.when(ROW % one_in == 0).then(pl.lit(value, dtype=dtype)).otherwise(pl.col(column))
    return month().with_columns(changed.alias(column))


def on_days(first: int, last: int) -> pl.Expr:
    return pl.col(TIME).dt.day().is_between(first, last)


@pytest.mark.parametrize("reference", [REFERENCE, None], ids=["with a reference", "without"])
def test_a_healthy_month_is_silent(reference: pl.DataFrame | None) -> None:
    for seed in range(SEED, SEED + 20):
        assert found(month(seed=seed), reference) == [], f"seed {seed}"
    assert judge(month().clear(), FEATURES, time=TIME) == ()


def test_real_flights_are_silent_against_the_first_three_months_until_the_weather_really_stops() -> None:
    reference = pl.concat([features(month) for month in MODEL.partitions[:3]])
    for name in MODEL.partitions[:-1]:
        faults = [one.text for one in judge(features(name), MODEL.features, time=TIME, reference=reference) if one.fault]
        assert faults == [], f"{name}: a season is no fault"
    # The source has no weather of the last day of December: the one true fault of the year.
    december = judge(features("2013-12"), MODEL.features, time=TIME, reference=reference)
    stopped = {one.column: one.kind for one in december if one.fault}
    assert stopped == dict.fromkeys(WEATHER, "nulls") | {"pressure": "nulls_by_day"}


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (month().drop("heat"), ("heat", "missing_column")),
        (share("heat", None, 1), ("heat", "empty")),
        (share("heat", None, 2), ("heat", "nulls")),
        (share("heat", float("nan"), 30), ("heat", "nulls")),
        (share("age", None, 2), ("age", "nulls")),
        (month().with_columns(heat=pl.when(on_days(9, 9)).then(None).otherwise(HEAT)), ("heat", "nulls")),
        (share("heat", 500.0, 100), ("heat", "out_of_bounds")),
        (share("heat", float("-inf"), 100), ("heat", "out_of_bounds")),
        (share("rain", -0.1, 200), ("rain", "out_of_bounds")),
        (share("line", "ZZ", 20), ("line", "unseen_category")),
        (share("heat", 70.0, 1), ("heat", "constant")),
        (share("line", "AA", 1), ("line", "constant")),
        (month().filter(~on_days(10, 16)), ("(rows)", "volume")),
        (month().with_columns(heat=pl.lit("warm")), ("heat", "empty")),
        (month().with_columns(heat=pl.lit([1.0], dtype=pl.List(pl.Float64))), ("heat", "error")),
    ],
    ids=lambda case: case[1] if isinstance(case, tuple) else "",
)
def test_each_fault_is_found_once_and_named(frame: pl.DataFrame, expected: tuple[str, str]) -> None:
    assert found(frame) == [(*expected, True)]
    text = judge(frame, FEATURES, time=TIME, reference=REFERENCE)[0].text
    assert expected[0].strip("()") in text, "the text names the column"


def test_faults_in_every_column_are_all_found() -> None:
    frame = month().with_columns(
        heat=pl.lit([1.0], dtype=pl.List(pl.Float64)), rain=pl.lit(None), line=pl.lit("ZZ"), age=pl.lit(3.0)
    )
    kinds = {(one.column, one.kind) for one in judge(frame, FEATURES, time=TIME, reference=REFERENCE)}
    assert kinds == {
        ("heat", "error"),
        ("rain", "empty"),
        ("line", "unseen_category"),
        ("line", "constant"),
        ("age", "constant"),
    }


def test_a_day_without_a_feed_is_found_though_the_month_looks_fine() -> None:
    """One day of many rows a month: its nulls are under the month's limit."""
    wide = pl.concat([month(seed=seed) for seed in range(SEED, SEED + 5)]).filter(~on_days(9, 9) | (ROW % 8 == 0))
    away = wide.with_columns(heat=pl.when(on_days(9, 9)).then(None).otherwise(HEAT))
    assert away["heat"].null_count() / away.height < QualityPolicy().nulls
    assert found(away) == [("heat", "nulls_by_day", True)]
    assert "2013-01-09" in judge(away, FEATURES, time=TIME, reference=REFERENCE)[0].text
    assert found(away, away) == [], "a column that always has such days has lost nothing"


def test_real_flights_of_a_few_days_are_as_silent_as_a_month() -> None:
    """A release that came late in the month has answered for days only: no rain, clear sight, no pressure for a day."""
    reference = pl.concat([features(month) for month in MODEL.partitions[:3]]).gather_every(9)
    year = pl.concat([features(month) for month in MODEL.partitions]).gather_every(9)
    date = pl.col(TIME).dt.date()
    year = year.filter(date < pl.date(2013, 12, 30)).with_columns(day=date.rank("dense").cast(pl.Int64) - 1)
    for days, every in ((1, 5), (7, 7), (14, 28)):
        for first in range(0, 360, every):
            window = year.filter(pl.col("day").is_between(first, first + days - 1))
            faults = [one.text for one in judge(window, MODEL.features, time=TIME, reference=reference) if one.fault]
            assert faults == [], f"{days} days from day {first} of the year"


def test_nulls_of_a_nullable_column_count_only_over_its_own_habit() -> None:
    assert found(share("age", None, 10)) == [], "40 % where a third is usual"
    one_day = share("age", None, 2).filter(on_days(3, 3))
    assert found(one_day) == [], "a day is no habit"
    assert found(share("age", None, 2), reference=None) == [], "without a reference nobody knows what is usual"
    assert found(share("age", None, 1), reference=None) == [("age", "empty", False)], "but that it is empty is worth a note"
    never = REFERENCE.with_columns(age=pl.lit(None, dtype=pl.Float64))
    assert found(share("age", None, 1), never) == [("age", "empty", False)], "it never had a value: a note"


def test_a_handful_of_stray_values_is_no_fault() -> None:
    rows = month().height
    assert found(share("heat", None, rows // 8)) == []
    assert found(share("heat", 500.0, rows // 2)) == []
    assert found(share("line", "ZZ", rows // 10)) == [("line", "unseen_category", False)], "a new category is news, not a fault"


def test_what_stands_still_for_a_day_or_mostly_anyway_is_not_stuck() -> None:
    one_day = month().filter(on_days(3, 3)).with_columns(heat=pl.lit(70.0))
    assert found(one_day) == [], "the weekday stands still for a day, too"
    dry = month().with_columns(rain=pl.lit(0.0))
    assert (REFERENCE["rain"] == 0).sum() > 0.9 * REFERENCE.height
    assert found(dry) == [], "a month without rain happens"
    stuck_with_gaps = month().with_columns(heat=pl.when(ROW % 300 == 0).then(None).otherwise(pl.lit(70.0)))
    assert found(stuck_with_gaps) == [("heat", "constant", True)], "some missing values do not hide that the others are one"


def thinned(shares: dict[int, float]) -> pl.DataFrame:
    """A month of which some days keep a share of their rows."""
    keep = pl.col(TIME).dt.day().replace_strict(shares, default=1.0, return_dtype=pl.Float64)
    return month(a_day=300).filter(pl.Series(np.random.default_rng(SEED).random(9000)) < keep)


@pytest.mark.parametrize(
    ("shares", "faulty"),
    [
        ({}, False),
        (dict.fromkeys(range(10, 14), 0.0), True),
        (dict.fromkeys((5, 12, 19, 26), 0.1), True),
        (dict.fromkeys((5, 12), 0.0), False),  # two lost days: a storm
        (dict.fromkeys(range(10, 31), 0.11), False),  # callers who call seldom from the tenth on
        (dict.fromkeys(range(1, 8), 0.05) | dict.fromkeys(range(8, 14), 0.25), False),  # a canary's rows
        (dict.fromkeys(range(1, 20), 0.0), False),  # a release that began to serve on the twentieth
        (dict.fromkeys(range(20, 31), 0.0), False),  # one that ended on the nineteenth
    ],
    ids=["even", "a gap", "single days", "a storm", "fewer from the tenth", "canary", "begun late", "ended early"],
)
def test_lost_days_are_told_from_a_level_that_changed(shares: dict[int, float], faulty: bool) -> None:
    assert found(thinned(shares)) == ([("(rows)", "volume", True)] if faulty else [])


def test_days_that_are_always_empty_are_no_lost_days() -> None:
    """Callers who keep office hours: Saturdays and Sundays have no rows in the reference either."""
    weekdays = [frame.filter(pl.col(TIME).dt.weekday() <= 5) for frame in (month(), REFERENCE)]
    assert found(weekdays[0], weekdays[1]) == []
    assert found(weekdays[0], REFERENCE) == [("(rows)", "volume", True)]


def test_few_rows_say_nothing_about_days() -> None:
    sparse = month(a_day=DAY_ROWS // 4).filter(~on_days(10, 16))
    assert found(sparse) == []


def test_a_finding_says_how_much_of_what_and_from_where() -> None:
    (one,) = judge(share("heat", 500.0, 50), FEATURES, time=TIME, source="features")
    assert one == Finding(
        "features", "heat", "out_of_bounds", 0.02, 0.001, "heat is outside [-40, 130] °F in 2.0% of rows (such as 500)"
    )


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.001, 0.6), st.sampled_from([0.05, 0.01, 0.0001]))
def test_a_share_is_certainly_over_its_limit_exactly_when_the_exact_binomial_test_says_so(
    count: int, others: int, limit: float, alpha: float
) -> None:
    rows = count + others
    expected = rows > 0 and count > limit * rows and binomtest(count, rows, limit, "greater").pvalue < alpha
    assert certainly_over(count, rows, limit, alpha) == expected
