"""Means by days, and the two verdicts that rest on them: has the world changed, and is the loss worse than promised."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import t

from pipelines.flight_delay.model import MODEL
from pipelines.monitoring import concept, performance
from pipelines.monitoring.clusters import MIN_DAYS, MIN_ROWS, Mean, by_day

SEED = 20136
Change = Callable[[np.ndarray], np.ndarray]
MONTHS = 200


def as_is(chance: np.ndarray) -> np.ndarray:
    return chance


def month(
    rng: np.random.Generator,
    *,
    change: Change = as_is,
    inputs: float = -1.0,
    luck: float = 0.04,
    days: int = 30,
    a_day: int = 100,
) -> pl.DataFrame:
    """Answers and outcomes. `inputs` moves what is asked, `change` what comes of it; a day's luck moves all its outcomes."""
    day = np.repeat(np.arange(days), a_day)
    prediction = 1 / (1 + np.exp(-rng.normal(inputs, 1.0, len(day))))
    chance = np.clip(change(prediction) + luck * rng.normal(size=days)[day], 0, 1)
    start = np.datetime64(datetime(2013, 1, 1, tzinfo=UTC).replace(tzinfo=None), "us")
    return pl.DataFrame(
        {
            "event_time": start + day.astype("timedelta64[D]"),
            "prediction": prediction,
            "label": (rng.random(len(day)) < chance).astype(np.float64),
        }
    )


def changed(months: int = MONTHS, **how: Any) -> float:
    rng = np.random.default_rng(SEED)
    return float(np.mean([concept.judge(month(rng, **how)).changed for _ in range(months)]))


def tolerated(alpha: float, months: int = MONTHS) -> float:
    """The error rate, and three standard deviations of as many months."""
    return alpha + 3 * float(np.sqrt(alpha * (1 - alpha) / months))


def test_the_interval_by_days_covers_where_one_by_rows_does_not() -> None:
    rng = np.random.default_rng(SEED)
    day, by_days, by_rows = np.repeat(np.arange(30), 100), 0, 0
    for _ in range(MONTHS):
        values = rng.normal(size=len(day)) + 0.3 * rng.normal(size=30)[day]
        mean = by_day(values, day)
        by_days += abs(mean.value) <= t.ppf(0.975, 29) * mean.error
        by_rows += abs(mean.value) <= 1.96 * values.std() / np.sqrt(len(values))
    assert by_days / MONTHS == pytest.approx(0.95, abs=3 * np.sqrt(0.05 * 0.95 / MONTHS)), f"seed {SEED}"
    assert by_rows / MONTHS < 0.6, "what this replaces: rows of a day taken as independent"


def test_rows_that_say_the_same_all_day_count_as_one() -> None:
    values = np.random.default_rng(SEED).normal(size=20)
    alone, repeated = by_day(values, np.arange(20)), by_day(np.repeat(values, 50), np.repeat(np.arange(20), 50))
    assert repeated.value == pytest.approx(alone.value)
    assert repeated.error == pytest.approx(alone.error), "fifty copies of a row are no new knowledge"
    assert alone.error == pytest.approx(values.std(ddof=1) / np.sqrt(20)), "with a row a day it is the plain standard error"
    assert (repeated.rows, repeated.days) == (1000, 20)


def test_a_mean_of_nothing_or_of_few_days_is_never_certain() -> None:
    assert by_day(np.zeros(0), np.zeros(0)) == Mean(0.0, 0.0, 0, 0)
    few = by_day(np.ones(700) + np.tile([0.1, -0.1], 350), np.repeat(np.arange(MIN_DAYS - 1), 100))
    assert few.p_beyond(0.0) == 1.0
    assert not few.enough


@pytest.mark.parametrize(("value", "floor", "p"), [(0.5, 0.03, 0.0), (-0.5, 0.03, 0.0), (0.02, 0.03, 1.0), (0.0, 0.0, 1.0)])
def test_where_every_day_says_the_same_the_mean_is_certain(value: float, floor: float, p: float) -> None:
    assert by_day(np.full(900, value), np.repeat(np.arange(9), 100)).p_beyond(floor) == pytest.approx(p, abs=1e-9)


def test_a_calm_month_is_hardly_ever_called_a_change_whatever_its_inputs() -> None:
    assert changed(luck=0.06) <= 0.01
    assert changed(luck=0.06, inputs=1.0) <= 0.01, "inputs moved by two standard deviations, outcomes held"


def test_a_change_as_large_as_the_least_that_counts_is_called_at_most_at_the_error_rate() -> None:
    assert changed(change=lambda chance: chance + concept.MIN_GAP) <= tolerated(concept.ALPHA), f"seed {SEED}: five strata"


@pytest.mark.parametrize(
    "change",
    [
        lambda chance: chance + 0.08,
        lambda chance: chance * 0.6,
        # What was likely is less so and the reverse: the mean stays, the quarters part.
        lambda chance: chance + 0.6 * (0.3 - chance),
    ],
    ids=["more often", "less often", "cancels out in the mean"],
)
def test_a_change_at_held_inputs_is_found(change: Change) -> None:
    assert changed(60, change=change) >= 0.95, f"seed {SEED}"


def test_the_stratum_that_parted_most_certainly_is_named_with_its_gap() -> None:
    verdict = concept.judge(
        month(np.random.default_rng(SEED), change=lambda chance: np.where(chance > 0.4, chance - 0.2, chance))
    )
    assert verdict.changed
    assert verdict.reason.startswith("quarter 4 of the predictions: outcomes are -")
    assert [gap.stratum for gap in verdict.gaps][0] == "all"
    assert len(verdict.gaps) == 1 + concept.STRATA
    assert sum(gap.gap.rows for gap in verdict.gaps[1:]) == verdict.gaps[0].gap.rows, "each row is in one quarter"


def test_predictions_of_one_value_have_one_stratum_and_no_crash() -> None:
    """The baseline knows an hour's share and nothing else."""
    frame = month(np.random.default_rng(SEED)).with_columns(prediction=pl.lit(0.3), label=pl.lit(1.0))
    verdict = concept.judge(frame)
    assert verdict.changed, "every outcome is late, on every day"
    assert verdict.gaps[0].gap.value == pytest.approx(0.7)


def test_too_few_outcomes_or_days_are_no_verdict_with_the_numbers() -> None:
    rng = np.random.default_rng(SEED)
    whole = month(rng, change=np.ones_like)
    few_rows = whole.with_columns(label=pl.when(pl.int_range(pl.len()) % 7 == 0).then("label"))
    few_days = whole.filter(pl.col("event_time").dt.day() < MIN_DAYS)
    for frame, told in (
        (few_rows, f"429 outcomes on 30 days; a verdict needs {MIN_ROWS} on {MIN_DAYS} days"),
        (few_days, f"700 outcomes on 7 days; a verdict needs {MIN_ROWS} on {MIN_DAYS} days"),
        (whole.clear(), f"0 outcomes on 0 days; a verdict needs {MIN_ROWS} on {MIN_DAYS} days"),
    ):
        verdict = concept.judge(frame)
        assert not verdict.decided, "seven days cannot tell a change from luck, however many rows they have"
        assert not verdict.changed
        assert verdict.reason == told
        loss = performance.judge(MODEL, frame, expected=0.01)
        assert not loss.enough
        assert not loss.worse
        assert loss.metrics == {}
        assert "a verdict needs" in loss.reason


def worse(months: int, expected: float, **how: Any) -> float:
    rng = np.random.default_rng(SEED)
    return float(np.mean([performance.judge(MODEL, month(rng, **how), expected=expected).worse for _ in range(months)]))


def usual_loss() -> float:
    frame = month(np.random.default_rng(SEED), days=3000, luck=0.0)
    return float(((frame["prediction"] - frame["label"]).to_numpy() ** 2).mean())


def test_a_loss_as_promised_or_at_the_margin_is_seldom_called_worse() -> None:
    promised = usual_loss()
    assert worse(100, promised) == 0.0
    at_the_margin = worse(MONTHS, promised - performance.MIN_EXCESS, luck=0.0)
    assert at_the_margin <= tolerated(performance.ALPHA), f"seed {SEED}"


def test_a_loss_that_is_certainly_and_sufficiently_higher_is_worse_and_a_lower_one_is_not() -> None:
    promised = usual_loss()
    assert worse(40, promised - 0.04) >= 0.95
    assert worse(40, promised + 0.04) == 0.0, "better than promised is no complaint"


def test_the_verdict_on_the_loss_tells_its_numbers() -> None:
    frame = month(np.random.default_rng(SEED)).with_columns(
        label=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise("label")
    )
    verdict = performance.judge(MODEL, frame, expected=0.1)
    assert (verdict.served, verdict.labelled, verdict.expected) == (3000, 2000, 0.1)
    assert verdict.loss.value == pytest.approx(verdict.metrics["brier"], rel=1e-5)
    assert verdict.reason == f"loss {verdict.loss.value:.4f} (± {2 * verdict.loss.error:.4f}), promised 0.1000"
    unpromised = performance.judge(MODEL, frame, expected=None)
    assert unpromised.enough
    assert not unpromised.worse
    assert unpromised.reason.endswith("its evaluation promised none to compare with")
