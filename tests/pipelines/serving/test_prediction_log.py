"""The prediction log on the real store: nothing twice, nothing silently lost, nobody blocked."""

import time
from collections.abc import Callable
from typing import Any

import deltalake
import polars as pl
import pytest

from pipelines.model import Feature
from pipelines.serving import prediction_log
from pipelines.serving.metrics import Metrics
from pipelines.serving.package import Signature
from pipelines.serving.prediction_log import Entry, PredictionLog
from pipelines.tables import Tables
from stacks.outputs import StackOutputs
from tests.pipelines.serving import tiny


def entry(*identities: str, arm: str = "live") -> Entry:
    count = len(identities)
    return Entry(list(identities), [None] * count, [[1.0, "AA", None]] * count, [0.5] * count, 1_700_000_000_000_000, arm, 1.5)


def start(tables: Tables, release: str, **more: Any) -> tuple[PredictionLog, Metrics]:
    log = PredictionLog(tables, tiny.SIGNATURE, release, flush_s=0.1, **more)
    metrics = Metrics(release=release, model="m", image="i", pending=log.pending)
    log.start(metrics)
    return log, metrics


def rows(tables: Tables, release: str) -> pl.DataFrame:
    scan = tables.scan("predictions")
    assert scan is not None
    return scan.filter(pl.col("release") == release).collect()


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


def test_logged_rows_have_the_columns_that_the_readers_expect(outputs: StackOutputs) -> None:
    tables = Tables(outputs)
    log, metrics = start(tables, "columns")
    log.add(Entry(["a"], [1_356_998_400_000_001], [[12.0, "ZZ", None]], [0.25], 1_700_000_000_000_000, "shadow", 1.5))
    assert log.close(5.0) == 0
    found = rows(tables, "columns")
    moment = pl.Datetime("us", "UTC")
    assert dict(found.schema) == {
        "request_id": pl.String(),
        "event_time": moment,
        "served_at": moment,
        "release": pl.String(),
        "arm": pl.String(),
        "features": pl.Struct({"distance": pl.Float64, "carrier": pl.String, "wind": pl.Float64}),
        "prediction": pl.Float64(),
        "latency_ms": pl.Float64(),
    }
    row = found.row(0, named=True)
    assert row["features"] == {"distance": 12.0, "carrier": "ZZ", "wind": None}
    assert (row["request_id"], row["arm"], row["prediction"], row["latency_ms"]) == ("a", "shadow", 0.25, 1.5)
    assert row["event_time"].isoformat() == "2013-01-01T00:00:00.000001+00:00"
    assert b'rows_total{outcome="written"} 1.0' in metrics.text()


def test_rows_wait_while_the_store_is_away_and_are_written_once_when_it_is_back(
    outputs: StackOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = Tables(outputs)
    away = [True]
    real = Tables.open

    def opened(self: Tables, name: str, version: int | None = None) -> Any:
        if away[0]:
            raise OSError("connection refused")
        return real(self, name, version)

    monkeypatch.setattr(Tables, "open", opened)
    log, metrics = start(tables, "away")
    log.add(entry("a", "b"))
    until(lambda: b'commits_total{outcome="failed"} 2.0' in metrics.text())
    log.add(entry("c"))
    assert log.pending() == 3
    away[0] = False
    until(lambda: log.pending() == 0)
    assert log.close(5.0) == 0
    assert sorted(rows(tables, "away")["request_id"]) == ["a", "b", "c"]


def test_over_the_bound_answers_are_dropped_and_counted_never_blocked(
    outputs: StackOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(Tables, "open", away)
    log, metrics = start(Tables(outputs), "bound", bound=3)
    for identities in (["a"], ["b", "c"], ["d"], ["e", "f"]):
        log.add(entry(*identities))
    assert log.pending() == 3
    assert b'rows_total{outcome="lost"} 3.0' in metrics.text()
    began = time.monotonic()
    assert log.close(0.5) == 3, "what could not be written before the end is lost, and said so"
    assert time.monotonic() - began < 1.5
    assert b'rows_total{outcome="lost"} 6.0' in metrics.text()


def test_an_append_whose_answer_was_lost_is_not_written_twice(outputs: StackOutputs, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(outputs)
    real = deltalake.write_deltalake
    calls: list[int] = []

    def cut_off(*arguments: Any, **more: Any) -> None:
        real(*arguments, **more)
        calls.append(1)
        if len(calls) == 1:
            raise OSError("connection reset after the commit")

    monkeypatch.setattr(deltalake, "write_deltalake", cut_off)
    log, _ = start(tables, "once")
    log.add(entry("a"))
    until(lambda: log.pending() == 0)
    log.add(entry("b"))
    assert log.close(5.0) == 0
    assert len(calls) == 2, "one for each entry, none for the retry"
    assert sorted(rows(tables, "once")["request_id"]) == ["a", "b"]


def test_a_release_with_other_features_is_logged_into_the_same_table(outputs: StackOutputs) -> None:
    tables = Tables(outputs)
    log, _ = start(tables, "narrow")
    log.add(entry("a"))
    assert log.close(5.0) == 0
    wide = Signature(model="tiny", features=(*tiny.FEATURES, Feature(name="gust")), feature_view="other", entity="request_id")
    log = PredictionLog(tables, wide, "wide", flush_s=0.1)
    log.start(Metrics(release="wide", model="m", image="i", pending=log.pending))
    log.add(Entry(["b"], [None], [[1.0, "AA", None, 40.0]], [0.5], 0, "live", 1.0))
    assert log.close(5.0) == 0
    assert rows(tables, "wide")["features"].struct.field("gust").to_list() == [40.0]
    assert rows(tables, "narrow")["features"].struct.field("gust").to_list() == [None]


def test_many_rows_are_appended_in_pieces(outputs: StackOutputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "MAX_APPEND", 4)
    tables = Tables(outputs)
    log = PredictionLog(tables, tiny.SIGNATURE, "pieces", flush_s=0.1)
    for number in range(10):
        log.add(entry(f"{number}", f"{number}+"))
    metrics = Metrics(release="pieces", model="m", image="i", pending=log.pending)
    log.start(metrics)
    assert log.close(5.0) == 0
    assert len(rows(tables, "pieces")) == 20
    assert b'commits_total{outcome="ok"} 5.0' in metrics.text()
