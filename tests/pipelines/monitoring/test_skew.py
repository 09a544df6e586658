"""What was served against the month's batch, request by request: wrong units are found where no bound does."""

import polars as pl
import pytest

from pipelines.flight_delay.model import MODEL
from pipelines.monitoring import quality, skew
from tests.pipelines.monitoring.flights import features

TEMP, ROW = pl.col("temp"), pl.int_range(pl.len())


@pytest.fixture(scope="module")
def batch() -> pl.DataFrame:
    return features("2013-02").rename({"flight_id": "request_id"})


@pytest.fixture(scope="module")
def served(batch: pl.DataFrame) -> pl.DataFrame:
    """One request in nine called."""
    return batch.gather_every(9)


def found(served: pl.DataFrame, batch: pl.DataFrame) -> list[tuple[str, str]]:
    return [(one.column, one.kind) for one in skew.judge(served, batch, MODEL.features, key="request_id")]


def test_what_was_served_as_the_batch_has_it_is_silent(served: pl.DataFrame, batch: pl.DataFrame) -> None:
    assert found(served, batch) == []
    assert found(served.sample(fraction=1.0, shuffle=True, seed=1), batch.reverse()) == [], "rows meet by their request"


def test_celsius_for_fahrenheit_is_found_where_no_bound_finds_it(served: pl.DataFrame, batch: pl.DataFrame) -> None:
    celsius = served.with_columns(temp=(TEMP - 32) / 1.8)
    bounded = quality.judge(celsius, MODEL.features, time="event_time", reference=batch)
    assert [one for one in bounded if one.fault] == [], "the premise: it is a temperature that the bounds allow"
    assert found(celsius, batch) == [("temp", "skew")]
    text = skew.judge(celsius, batch, MODEL.features, key="request_id")[0].text
    assert text == "temp as served differs from the month's batch in 100% of 2,773 requests"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (TEMP.shift(40), ["temp"]),  # readings of an earlier hour
        (pl.when(ROW % 10 == 0).then(None).otherwise(TEMP).alias("temp"), ["temp"]),
        (pl.when(ROW % 10 == 0).then(float("inf")).otherwise(TEMP).alias("temp"), ["temp"]),
        (pl.when(ROW % 10 == 0).then(pl.lit("AA")).otherwise(pl.col("carrier")).alias("carrier"), ["carrier"]),
        (pl.when(ROW % 100 == 0).then(TEMP + 5).otherwise(TEMP).alias("temp"), []),  # late corrections: one in a hundred
        (TEMP + 0.001, []),  # rounding
        (TEMP.cast(pl.Float32), []),
    ],
    ids=["late", "null", "infinite", "category", "corrections", "rounding", "single precision"],
)
def test_what_differs_is_named_and_rounding_and_corrections_are_not(
    served: pl.DataFrame, batch: pl.DataFrame, change: pl.Expr, expected: list[str]
) -> None:
    assert [column for column, _ in found(served.with_columns(change), batch)] == expected


def test_one_infinite_value_in_the_batch_does_not_make_all_differences_small(served: pl.DataFrame, batch: pl.DataFrame) -> None:
    wild = batch.with_columns(temp=pl.when(ROW == 0).then(float("inf")).otherwise(TEMP))
    assert found(served.with_columns(temp=TEMP + 9), wild) == [("temp", "skew")]


def test_a_column_that_cannot_be_compared_does_not_hide_the_others(served: pl.DataFrame, batch: pl.DataFrame) -> None:
    broken = served.with_columns(temp=pl.lit([1.0], dtype=pl.List(pl.Float64)), dewp=pl.col("dewp") + 9).drop("humid")
    assert found(broken, batch) == [("temp", "error"), ("dewp", "skew")], "a missing column is told by quality"


def test_too_few_requests_in_common_say_nothing(served: pl.DataFrame, batch: pl.DataFrame) -> None:
    celsius = served.with_columns(temp=(TEMP - 32) / 1.8)
    assert found(celsius.head(skew.JOINED_ROWS - 1), batch) == []
    assert found(celsius.head(skew.JOINED_ROWS), batch) == [("temp", "skew")]
    assert found(celsius, batch.clear()) == []
