"""The flight model: nothing from the future, the same bytes after a kill, the same answers in ONNX."""

import importlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import xgboost
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.flight_delay.fit import BoostedTrees
from pipelines.flight_delay.model import MODEL
from pipelines.model import TrainingData, encode
from pipelines.training.evaluation import score

JANUARY = datetime(2013, 1, 1, 5, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def sources() -> dict[str, pl.DataFrame]:
    return {name: frame for name, frame in MODEL.deliver("2013-01").items()}


@pytest.fixture(scope="module")
def frame(sources: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return MODEL.build_features(sources)


def test_a_row_comes_out_for_every_flight_with_every_feature(sources: dict[str, pl.DataFrame], frame: pl.DataFrame) -> None:
    assert frame.height == sources["flights"].height
    assert frame["flight_id"].n_unique() == frame.height
    assert set(feature.name for feature in MODEL.features) <= set(frame.columns)


def _known_at(sources: dict[str, pl.DataFrame], moment: datetime) -> dict[str, pl.DataFrame]:
    """The sources as a caller had them at `moment`: schedules in full, of everything else only what had happened."""
    flights = sources["flights"]
    left = pl.col("sched_dep") + pl.col("dep_delay") * pl.duration(minutes=1) <= moment
    there = pl.col("arrived") <= moment
    return sources | {
        "flights": flights.with_columns(
            pl.when(left).then(pl.col("dep_delay")).alias("dep_delay"),
            *(pl.when(there).then(pl.col(name)).alias(name) for name in ("arr_delay", "air_time", "arrived")),
        ),
        "weather": sources["weather"].filter(pl.col("observed") + pl.duration(hours=1) <= moment),
    }


@settings(max_examples=12, deadline=None)
@given(minutes=st.integers(0, 31 * 24 * 60))
def test_features_are_the_same_from_what_was_known_at_their_moment(
    sources: dict[str, pl.DataFrame], frame: pl.DataFrame, minutes: int
) -> None:
    moment = JANUARY + timedelta(minutes=minutes)
    # The flights of the hour before, asked at the last of their own moments.
    asked = frame.filter(pl.col("event_time").is_between(moment - timedelta(hours=1), moment))
    assume(not asked.is_empty())
    last = asked["event_time"].max()
    assert isinstance(last, datetime)
    names = ["flight_id", *(feature.name for feature in MODEL.features)]
    then = MODEL.build_features(_known_at(sources, last)).filter(pl.col("event_time") == last).select(names)
    assert then.equals(frame.filter(pl.col("event_time") == last).select(names)), f"a feature at {last} needed the future"


def test_what_became_known_an_hour_before_does_change_features(sources: dict[str, pl.DataFrame], frame: pl.DataFrame) -> None:
    moment = JANUARY + timedelta(days=9, hours=17)
    ignorant = MODEL.build_features(_known_at(sources, moment - timedelta(hours=3)))
    names = ["flight_id", "temp", "origin_delay", "carrier_delay", "plane_delay"]
    now = pl.col("event_time").is_between(moment - timedelta(minutes=30), moment)
    for name in names[1:]:
        assert not ignorant.filter(now)[name].equals(frame.filter(now)[name]), f"{name} would tell nothing of the day"


def test_an_outcome_is_known_when_the_plane_is_at_its_gate(sources: dict[str, pl.DataFrame], frame: pl.DataFrame) -> None:
    flown = sources["flights"].filter(pl.col("air_time").is_not_null())
    taxi = (pl.col("arrived") - pl.col("sched_dep")).dt.total_minutes() - pl.col("dep_delay") - pl.col("air_time")
    minutes = flown.select(taxi=taxi)["taxi"]
    # Time zones, summer time and midnight are right, or taxiing would be negative or last for hours.
    assert minutes.is_between(1, 300).all(), minutes.describe()
    assert frame.filter(pl.col("label").is_null() != pl.col("label_time").is_null()).is_empty()
    late = frame.join(flown, on="flight_id").filter((pl.col("arr_delay") >= 15) != (pl.col("label") == 1))
    assert late.is_empty(), "late is 15 minutes or more at the gate"


def _data(frame: pl.DataFrame) -> TrainingData:
    rows = frame.filter(pl.col("label").is_not_null()).head(6000)
    x, y = encode(MODEL.features, rows), rows["label"].to_numpy().astype(np.float32)
    return TrainingData(x[:4500], y[:4500], x[4500:], y[4500:])


def test_training_in_segments_ends_in_the_same_bytes_and_its_onnx_agrees_with_xgboost(frame: pl.DataFrame) -> None:
    data, trainer = _data(frame), BoostedTrees()
    params = {**MODEL.params, "rounds_per_segment": 3, "nthread": 1}
    ends = []
    for _ in range(2):
        state: bytes | None = None
        for segment in range(3):
            state, metrics = trainer.fit_segment(state, data, segment=segment, seed=5 + segment, params=params)
        ends.append(state)
    assert ends[0] == ends[1], "the same segments from the same bytes must give the same bytes"
    assert metrics["valid_auc"] > 0.55, "nine small trees are better than chance"
    assert ends[0] is not None
    booster = xgboost.Booster(model_file=bytearray(ends[0]))
    expected = booster.predict(xgboost.DMatrix(data.x_valid))
    assert np.abs(score(trainer.to_onnx(ends[0], MODEL.features), data.x_valid) - expected).max() < 1e-6
    assert np.isnan(data.x_valid).any(), "the comparison must include missing values"


def test_the_baseline_says_the_late_share_of_the_hour(frame: pl.DataFrame) -> None:
    known = frame.filter(pl.col("label").is_not_null())
    at_eight = known.filter(pl.col("hour").floor() == 8)
    said = score(MODEL.baseline(frame), encode(MODEL.features, at_eight.head(3)))
    assert said == pytest.approx(at_eight["label"].mean(), abs=1e-6)


def test_the_metrics_agree_with_a_second_implementation(frame: pl.DataFrame) -> None:
    # Only the tests need it, and it has no types.
    metrics = importlib.import_module("sklearn.metrics")
    generator = np.random.default_rng(3)
    y = (generator.random(500) < 0.3).astype(np.float32)
    p = generator.random(500).astype(np.float32).round(2)
    found = MODEL.metrics(y, p)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(y, p))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(y, p), rel=1e-5)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, np.clip(p, 1e-6, 1 - 1e-6)), rel=1e-3)
