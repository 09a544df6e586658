"""The flight model: nothing from the future, the same bytes after a kill, the same answers in ONNX."""

import importlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import xgboost

from pipelines.flight_delay.fit import BoostedTrees
from pipelines.flight_delay.model import MODEL
from pipelines.model import TrainingData, encode
from pipelines.training.evaluation import score

CUT = datetime(2013, 1, 10, 17, 0, tzinfo=UTC)


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


def test_nothing_after_a_moment_changes_a_feature_at_or_before_it(
    sources: dict[str, pl.DataFrame], frame: pl.DataFrame
) -> None:
    late = pl.col("sched_dep") + pl.col("dep_delay").fill_null(0) * pl.duration(minutes=1) >= CUT
    other = pl.col("observed") + pl.duration(hours=1) > CUT
    changed = sources | {
        "flights": sources["flights"].with_columns(
            pl.when(late).then(pl.col("dep_delay") + 500).otherwise(pl.col("dep_delay")).alias("dep_delay"),
            pl.when(late).then(pl.col("arr_delay") + 500).otherwise(pl.col("arr_delay")).alias("arr_delay"),
        ),
        "weather": sources["weather"].with_columns(pl.when(other).then(99.0).otherwise(pl.col("temp")).alias("temp")),
    }
    names = ["flight_id", *(feature.name for feature in MODEL.features)]
    before = frame.filter(pl.col("event_time") <= CUT).select(names)
    after = MODEL.build_features(changed).filter(pl.col("event_time") <= CUT).select(names)
    assert before.equals(after), "a feature saw the future"
    assert not frame.select(names).equals(MODEL.build_features(changed).select(names)), "the change must be visible later"


def test_a_flights_own_outcome_is_known_only_after_it_could_have_landed(frame: pl.DataFrame) -> None:
    known = frame.filter(pl.col("label").is_not_null())
    early = known.filter(pl.col("label_time") - pl.col("event_time") < timedelta(minutes=10))
    assert early.is_empty(), early


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
