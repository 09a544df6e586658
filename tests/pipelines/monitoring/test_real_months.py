"""Real flights, a real model, injected faults: each month gets the cause that was put into it.

Learned from two days in four of January to March, promised on the third, served on the fourth: one world, no shared day.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.flight_delay.model import MODEL
from pipelines.monitoring import concept, drift, performance, quality, skew, triage
from pipelines.monitoring.triage import Cause, Triage
from tests.pipelines.monitoring.flights import features, fitted, served, split

SEED = 20137
WINTER = ("2013-01", "2013-02", "2013-03")
TEMP, LATE, ROW = pl.col("temp"), pl.col("label"), pl.int_range(pl.len())


@dataclass(frozen=True)
class World:
    booster: Any
    learned: pl.DataFrame
    promised: float
    asked: pl.DataFrame
    """The requests as the month's batch has them."""

    def answered(self, asked: pl.DataFrame) -> pl.DataFrame:
        return served(self.booster, asked)

    def judge(self, frame: pl.DataFrame, batch: pl.DataFrame | None = None) -> Triage:
        """What the assets do with a month."""
        batch = (self.asked if batch is None else batch).rename({"flight_id": "request_id"})
        findings = quality.judge(frame, MODEL.features, time="event_time", reference=self.learned)
        findings += skew.judge(frame, batch, MODEL.features, key="request_id")
        moved = drift.judge(self.learned, frame, MODEL.features, time="event_time")
        return triage.judge(
            [one for one in findings if one.fault],
            moved.drifted if moved.decided else None,
            performance.judge(MODEL, frame, expected=self.promised),
            concept.judge(frame),
        )


@pytest.fixture(scope="module")
def world() -> World:
    learned = split(WINTER, 0, 1)
    booster = fitted(learned)
    held_out = served(booster, split(WINTER, 2).drop_nulls("label"))
    loss = MODEL.loss(*(held_out[name].to_numpy().astype(np.float32) for name in ("label", "prediction")))
    # One request in three, as where a part of the callers is moved already.
    return World(booster, learned, float(loss.mean()), split(WINTER, 3).gather_every(3))


def chosen(frame: pl.DataFrame, likely: pl.Expr, others: float) -> pl.DataFrame:
    """Requests chosen by their inputs alone: what is asked moves, and what comes of it, given the inputs, cannot."""
    drawn = pl.Series(np.random.default_rng(SEED).random(frame.height))
    return frame.filter(likely | (drawn < others))


def test_the_same_world_is_healthy(world: World) -> None:
    verdict = world.judge(world.answered(world.asked))
    assert verdict.cause is Cause.HEALTHY, verdict.reasons


def test_a_reading_that_is_missing_from_half_of_the_requests_is_a_data_fault(world: World) -> None:
    sick = world.asked.with_columns(temp=pl.when(ROW % 2 == 0).then(TEMP))
    verdict = world.judge(world.answered(sick))
    assert verdict.cause is Cause.DATA_QUALITY
    assert verdict.reasons[0] == "temp is missing from 50.0% of rows; usual is 0.0%"
    moved = drift.judge(world.learned, sick, MODEL.features, time="event_time")
    assert "temp" in moved.drifted, "alone, the drift verdict would have called it moved inputs"


def test_celsius_for_fahrenheit_is_a_data_fault_though_it_looks_like_a_cold_month(world: World) -> None:
    celsius = world.asked.with_columns(temp=(TEMP - 32) / 1.8)
    verdict = world.judge(world.answered(celsius))
    assert verdict.cause is Cause.DATA_QUALITY
    assert verdict.reasons == (f"temp as served differs from the month's batch in 100% of {celsius.height:,} requests",)
    assert world.judge(world.answered(celsius), batch=celsius).cause is not Cause.DATA_QUALITY, "the premise: no bound sees it"


def test_where_only_the_inputs_move_it_is_data_drift_and_the_world_has_not_changed(world: World) -> None:
    mornings = chosen(split(WINTER, 3), pl.col("hour") < 9, 0.1)
    frame = world.answered(mornings)
    verdict = world.judge(frame, batch=mornings)
    assert verdict.cause is Cause.DATA_DRIFT, verdict.reasons
    assert verdict.reasons[0].startswith("inputs moved: hour")
    assert not concept.judge(frame).changed


def test_where_the_inputs_move_to_what_is_hard_to_foresee_the_loss_rises_and_the_world_has_not_changed(world: World) -> None:
    troubled = chosen(split(WINTER, 3), (pl.col("hour") > 15) & (pl.col("origin_delay") > 10), 0.05)
    verdict = world.judge(world.answered(troubled), batch=troubled)
    assert verdict.cause is Cause.DATA_DRIFT_WITH_LOSS, verdict.reasons


@pytest.mark.parametrize(
    "outcome",
    [
        # One flight in six of those that were on time is late now, whatever its inputs.
        pl.when(LATE.is_not_null() & (ROW % 6 == 0)).then(1.0).otherwise(LATE),
        # Nothing is late any more but half of what was.
        pl.when(LATE.is_not_null() & (ROW % 2 == 0)).then(0.0).otherwise(LATE),
        # What the model knows is the reverse: the late are on time.
        1 - LATE,
    ],
    ids=["more late", "fewer late", "reversed"],
)
def test_where_outcomes_change_at_held_inputs_it_is_concept_drift(world: World, outcome: pl.Expr) -> None:
    frame = world.answered(world.asked).with_columns(label=outcome)
    verdict = world.judge(frame)
    assert verdict.cause is Cause.CONCEPT_DRIFT, verdict.reasons
    assert verdict.reasons[-1] == "inputs as before"


def test_summer_moves_the_weather_and_no_season_is_a_data_fault(world: World) -> None:
    july = features("2013-07").gather_every(9)
    moved = drift.judge(world.learned, july, MODEL.features, time="event_time")
    assert set(moved.drifted[:2]) == {"temp", "dewp"}, "the largest shifts are what summer is"
    verdict = world.judge(world.answered(july), batch=july)
    assert verdict.cause is not Cause.DATA_QUALITY
    assert any("inputs moved: " in reason for reason in verdict.reasons)


def test_before_outcomes_are_known_it_is_not_called_healthy(world: World) -> None:
    waiting = world.answered(world.asked).with_columns(label=pl.when(ROW % 20 == 0).then(LATE))
    verdict = world.judge(waiting)
    assert verdict.cause is Cause.NOT_ENOUGH_LABELS
    assert "a verdict needs 500" in verdict.reasons[0]
