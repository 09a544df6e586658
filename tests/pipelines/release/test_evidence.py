"""Paired losses from real Delta tables, in whatever order and files they come."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.release.evidence import Evidence
from pipelines.release.pairs import Pairs
from pipelines.tables import Tables
from stacks.outputs import StackOutputs

P, C = "r0001-aaaaaaaa", "r0002-bbbbbbbb"
START = datetime(2013, 5, 1, tzinfo=UTC)
LAG = timedelta(hours=3)
MOMENT = pl.Datetime("us", "UTC")
SCHEMA: dict[str, Any] = {"request_id": pl.String, "event_time": MOMENT, "served_at": MOMENT, "release": pl.String}
SCHEMA |= {"arm": pl.String, "prediction": pl.Float64}
LABELS: dict[str, Any] = {"request_id": pl.String, "label": pl.Float64, "known_at": pl.Datetime("us", "UTC")}


def brier(label: Any, prediction: Any) -> Any:
    return (prediction - label) ** 2


def pairs(block_pairs: int = 20) -> Pairs:
    return Pairs(brier, block_pairs, LAG)


def stream(
    hours: int, a_hour: int = 40, *, worse: float = 0.0, seed: int = 3
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Live answers of P, shadow answers of C, and labels known three hours after their request."""
    rng = np.random.default_rng(seed)
    number = hours * a_hour
    ids = [f"q{index}" for index in range(number)]
    times = [START + timedelta(hours=index / a_hour) for index in range(number)]
    champion = rng.uniform(0.1, 0.6, number)
    label = (rng.random(number) < champion).astype(float)
    candidate = np.clip(champion + worse * rng.choice([-1.0, 1.0], number), 0, 1)
    live = pl.DataFrame({"request_id": ids, "event_time": times, "prediction": champion}, schema_overrides=SCHEMA)
    shadow = pl.DataFrame({"request_id": ids, "prediction": candidate})
    known = pl.DataFrame({"request_id": ids, "label": label, "known_at": [at + LAG for at in times]}, schema_overrides=LABELS)
    return live, shadow, known


def test_a_block_is_the_mean_paired_loss_difference_of_a_full_hour() -> None:
    live, shadow, labels = stream(10, worse=0.2)
    found = pairs()
    blocks = found.add(live, shadow, labels)
    # Labels are known up to hour 13; an hour is due three hours after its end: hours 0 to 8 at most.
    assert [block.pairs for block in blocks] == [40] * 9
    first = live.join(shadow, on="request_id", suffix="_c").join(labels, on="request_id").head(40)
    wanted = (brier(first["label"], first["prediction_c"]) - brier(first["label"], first["prediction"])).mean()
    assert blocks[0].difference == pytest.approx(wanted, abs=1e-6)
    assert found.judged == found.answered == 400
    assert found.max_difference == pytest.approx(0.2, abs=1e-6)


def test_the_bounds_hold_come_from_the_predictions_alone_and_are_much_tighter_than_one() -> None:
    live, shadow, labels = stream(30, worse=0.1)
    blocks = pairs().add(live, shadow, labels)
    flipped = pairs().add(live, shadow, labels.with_columns(label=1 - pl.col("label")))
    for block, other in zip(blocks, flipped, strict=True):
        assert block.low <= block.difference <= block.high
        assert (block.low, block.high) == (other.low, other.high), "no label was needed to know them"
        assert block.low > -0.3


def test_an_outcome_that_is_not_yes_or_no_gets_the_bounds_of_the_loss() -> None:
    live, shadow, labels = stream(10)
    blocks = pairs().add(live, shadow, labels.with_columns(label=pl.lit(0.5)))
    assert {(block.low, block.high) for block in blocks} == {(-1.0, 1.0)}


def test_the_order_and_the_cuts_in_which_rows_arrive_change_no_pair() -> None:
    live, shadow, labels = stream(24)
    whole = pairs().add(live, shadow, labels)
    found = pairs()
    blocks = list(found.add(None, None, labels.head(100)))
    for at in range(0, 960, 60):
        blocks += found.add(None, shadow.slice(at, 60), None)
        blocks += found.add(live.slice(at, 60), None, labels.slice(at, 60))
    assert found.judged == 960, "repeated labels count once"
    assert [block.difference for block in blocks] == pytest.approx([block.difference for block in whole])


def test_thin_hours_join_the_next_and_stragglers_are_not_lost() -> None:
    live, shadow, labels = stream(24, a_hour=6)
    late = labels.head(6)
    found = pairs()
    blocks = [*found.add(live, shadow, labels.tail(-6)), *found.add(None, None, late)]
    assert all(block.pairs >= 20 for block in blocks)
    assert sum(block.pairs for block in blocks) >= 24 * 6 - 4 * 6 - 20
    assert found.judged == 24 * 6


@pytest.fixture
def tables(outputs: StackOutputs) -> Tables:
    return Tables(outputs)


def log(tables: Tables, frame: pl.DataFrame, release: str, arm: str) -> None:
    rows = frame.with_columns(
        served_at=pl.lit(START, SCHEMA["served_at"]),
        release=pl.lit(release),
        arm=pl.lit(arm),
        features=pl.struct(distance=pl.lit(1.0)),
    )
    if "event_time" not in rows.columns:
        rows = rows.with_columns(event_time=pl.lit(None, SCHEMA["event_time"]))
    tables.append("predictions", rows.select(*SCHEMA, "features"), partition_by=["release"])


def test_the_tables_are_read_file_by_file_each_once(tables: Tables) -> None:
    evidence = Evidence(tables, P, C, datetime.now(UTC))
    assert evidence.predictions() == (None, None), "no table yet"
    assert evidence.labels() is None
    live, shadow, labels = stream(10)
    log(tables, live, P, "live")
    log(tables, shadow, C, "shadow")
    log(tables, shadow, C, "live")
    log(tables, live, "r0000-00000000", "live")
    tables.append("labels", labels)
    found = pairs()
    assert found.add(*evidence.predictions(), evidence.labels())
    assert found.judged == 400, "neither the candidate's own callers nor other releases are pairs"
    assert evidence.predictions() == (None, None)
    log(tables, live.with_columns(request_id=pl.col("request_id") + "x"), P, "live")
    more, none = evidence.predictions()
    assert more is not None
    assert more.height == 400
    assert none is not None
    assert none.is_empty()


def test_files_from_before_the_shadow_are_not_read(tables: Tables) -> None:
    live, _, labels = stream(2)
    log(tables, live, P, "live")
    tables.append("labels", labels)
    evidence = Evidence(tables, P, C, datetime.now(UTC) + timedelta(minutes=2))
    assert evidence.predictions() == (None, None)
    assert evidence.labels() is None


def test_a_look_with_nothing_new_is_cheap_however_many_files_there_are(tables: Tables) -> None:
    live, shadow, _ = stream(2)
    for _ in range(30):
        log(tables, live, P, "live")
    log(tables, shadow, C, "shadow")
    evidence = Evidence(tables, P, C, datetime.now(UTC))
    evidence.predictions()
    took = []
    for _ in range(5):
        began = time.perf_counter()
        evidence.predictions()
        evidence.labels()
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1
