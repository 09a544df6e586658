"""How often the drift verdict is wrong, by simulation and on real flights, and what it finds."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp

from pipelines.flight_delay.model import MODEL
from pipelines.monitoring.drift import DriftPolicy, judge
from tests.pipelines.monitoring import calm
from tests.pipelines.monitoring.flights import features

SEED = 20133
# 199 permutations make a test at 5 % as exact as 999 do, and cost a fifth.
POLICY = DriftPolicy(permutations=199)


def tolerated(windows: int) -> float:
    """The error rate, and three standard deviations of as many windows."""
    return POLICY.alpha + 3 * float(np.sqrt(POLICY.alpha * (1 - POLICY.alpha) / windows))


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ([60] * 60, [60] * 30),
        # The reference is all traffic, the current rows one request in seventeen: unevened, 64 % alarm.
        ([200] * 60, [12] * 10),
        # Three days of a canary, when everybody is asked, and then the usual: unevened, 40 % alarm.
        ([100] * 60, [900] * 3 + [50] * 27),
    ],
    ids=["even", "many times the rows", "three dense days"],
)
def test_a_calm_month_is_called_new_in_one_of_twenty_over_all_columns(reference: list[int], current: list[int]) -> None:
    rng, windows, alarms = np.random.default_rng(SEED), 70, 0
    for _ in range(windows):
        verdict = judge(calm.month(rng, reference), calm.month(rng, current), calm.FEATURES, time=calm.TIME, policy=POLICY)
        assert verdict.decided
        assert not verdict.skipped
        alarms += any(column.certain for column in verdict.columns)
    assert alarms / windows <= tolerated(windows), f"seed {SEED}"


def test_real_flights_resampled_by_whole_days_are_seldom_called_new() -> None:
    """Sixty days of 2013 against thirty others, drawn by chance: same world, real days, all 18 columns."""
    year = pl.concat([features(month) for month in MODEL.partitions]).gather_every(9)
    days = year.with_columns(day=pl.col("event_time").dt.date()).partition_by("day")
    rng, windows, certain, drifted = np.random.default_rng(SEED), 70, 0, 0
    for _ in range(windows):
        drawn = rng.permutation(len(days))
        reference, current = (pl.concat([days[day] for day in drawn[part]]) for part in (slice(60), slice(60, 90)))
        verdict = judge(reference, current, MODEL.features, time="event_time", policy=POLICY)
        certain += any(column.certain for column in verdict.columns)
        drifted += bool(verdict.drifted)
    assert certain / windows <= tolerated(windows), f"seed {SEED}"
    assert drifted <= certain


def test_a_row_level_test_would_call_most_calm_months_new() -> None:
    """What this replaces: Kolmogorov-Smirnov a column, Bonferroni over the columns."""
    rng, alarms = np.random.default_rng(SEED), 0
    for _ in range(20):
        reference, current = calm.month(rng, [60] * 60), calm.month(rng, [60] * 30)
        smallest = min(ks_2samp(reference[f"number{index}"], current[f"number{index}"]).pvalue for index in range(calm.NUMBERS))
        alarms += smallest < POLICY.alpha / calm.NUMBERS
    assert alarms >= 15


def test_a_shift_that_matters_is_found_and_named_among_twenty_columns() -> None:
    rng, windows, found, others = np.random.default_rng(SEED), 40, 0, 0
    for _ in range(windows):
        shifted = calm.month(rng, [60] * 30, shift=0.45)
        verdict = judge(calm.month(rng, [60] * 60), shifted, calm.FEATURES, time=calm.TIME, policy=POLICY)
        found += verdict.drifted == ("number0",)
        others += any(column.certain and column.name != "number0" for column in verdict.columns)
    # 0.45 standard deviations are 6 of its standard errors, and an effect of 0.17.
    assert found >= 0.9 * windows, f"seed {SEED}"
    assert others / windows <= tolerated(windows), f"seed {SEED}"


def test_a_small_shift_on_many_rows_is_certain_and_does_not_count_as_drift() -> None:
    rng = np.random.default_rng(SEED)
    reference, current = (calm.month(rng, [3000] * 30, luck=0.0, shift=shift) for shift in (0.0, 0.1))
    verdict = judge(reference, current, calm.FEATURES, time=calm.TIME)
    moved = next(column for column in verdict.columns if column.name == "number0")
    assert moved.certain, "a tenth of a standard deviation is far outside the chance of 90,000 rows"
    # The distribution functions of two bells, a tenth apart, differ by 0.04 at most.
    assert moved.effect == pytest.approx(0.04, abs=0.008)
    assert not moved.drifted
    assert verdict.drifted == (), "or every large month would drift"


def test_the_effect_is_the_distance_of_the_distribution_functions() -> None:
    rng = np.random.default_rng(SEED)
    reference, current = (calm.month(rng, [2000] * 10, luck=0.0, shift=shift) for shift in (0.0, 0.8))
    verdict = judge(reference, current, calm.FEATURES[:1], time=calm.TIME)
    exact = ks_2samp(reference["number0"], current["number0"]).statistic
    assert verdict.columns[0].effect == pytest.approx(exact, abs=0.02)
    assert verdict.columns[0].drifted
