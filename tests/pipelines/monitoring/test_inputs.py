"""What monitoring reads from real tables: each request once, with its newest outcome, as the champion answered it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.data.labels import append_labels
from pipelines.flight_delay.model import MODEL
from pipelines.monitoring import inputs
from pipelines.release.ledger import Ledger
from pipelines.tables import Tables
from stacks.outputs import StackOutputs
from tests.pipelines.monitoring.flights import features
from tests.pipelines.monitoring.served import answer, promote, put_month, records

MONTH = "2013-04"
CHAMPION = "r0002-bb"
NAMES = [feature.name for feature in MODEL.features]


def asked(rows: int = 6) -> pl.DataFrame:
    """Requests of the month with outcomes, answered with their number as the prediction."""
    frame = features(MONTH).drop_nulls("label").head(rows).rename({"flight_id": "request_id"})
    return frame.with_columns(prediction=pl.int_range(rows) / 10)


def learned(outputs: StackOutputs, labels: list[tuple[int, float, int]]) -> None:
    """Outcomes as the label feed appends them: number of the request, outcome, hour it was known."""
    known = [
        (asked()["request_id"][number], label, datetime(2013, 4, 2, tzinfo=UTC) + timedelta(hours=hour))
        for number, label, hour in labels
    ]
    schema: dict[str, Any] = {"request_id": pl.String, "label": pl.Float64, "known_at": pl.Datetime("us", "UTC")}
    append_labels(Tables(outputs), pl.DataFrame(known, schema=schema, orient="row"))


@pytest.fixture
def month(outputs: StackOutputs) -> StackOutputs:
    put_month(outputs, MONTH, features(MONTH))
    return outputs


def served(outputs: StackOutputs) -> pl.DataFrame:
    frame = inputs.served(MODEL, Tables(outputs), MONTH, CHAMPION)
    assert frame is not None
    return frame.sort("prediction")


def test_where_nothing_was_ever_answered_there_is_nothing(outputs: StackOutputs) -> None:
    assert inputs.served(MODEL, Tables(outputs), MONTH, CHAMPION) is None
    assert inputs.batch(MODEL, Tables(outputs), MONTH) is None
    put_month(outputs, MONTH, features(MONTH))
    assert inputs.served(MODEL, Tables(outputs), MONTH, CHAMPION) is None
    answer(outputs, "r0001-aa", asked())
    assert served(outputs).is_empty(), "answers of another release are not the champion's"


def test_the_rows_are_the_champions_live_answers_of_the_month_as_they_were_asked(month: StackOutputs) -> None:
    rows = asked()
    answer(month, CHAMPION, rows[:3])
    answer(month, CHAMPION, rows[3:4], arm="shadow")
    answer(month, "r0001-aa", rows[4:5])
    unknown = rows[5:6].with_columns(request_id=pl.lit("of another month"))
    answer(month, CHAMPION, unknown)
    frame = served(month)
    assert frame["request_id"].to_list() == rows["request_id"][:3].to_list()
    assert_frame_equal(frame.select(NAMES), rows[:3].select(NAMES))
    assert frame["label"].to_list() == rows["label"][:3].to_list(), "the month's own batch brings outcomes, too"


def test_a_request_that_was_answered_twice_counts_once_as_it_was_answered_first(month: StackOutputs) -> None:
    rows = asked()
    # Three the first answer first and three last: the files of a table come in no order that could be relied on.
    for at in range(1, 6):
        for part, moment in ((rows[:3], at), (rows[3:], 6 - at)):
            answer(month, CHAMPION, part.with_columns(pl.col("prediction") + moment - 1), served_at=moment * 1_000_000)
    assert served(month)["request_id"].to_list() == rows["request_id"].to_list()
    assert served(month)["prediction"].to_list() == pytest.approx(rows["prediction"].to_list())


def test_the_newest_outcome_counts_whatever_order_the_feed_wrote_them_in(month: StackOutputs) -> None:
    rows = asked()
    answer(month, CHAMPION, rows)
    learned(month, [(0, 0.25, 9), (1, 0.5, 1)])
    learned(month, [(0, 0.75, 3), (1, 1.0, 5)])
    frame = served(month)
    assert frame["label"][:2].to_list() == [0.25, 1.0], "a correction counts, a late copy of the first does not"
    assert frame["label"][2:].to_list() == rows["label"][2:].to_list(), "where the feed says nothing, the batch does"


def test_a_caller_that_sends_no_time_is_counted_on_the_day_the_batch_knows(month: StackOutputs) -> None:
    rows = asked()
    moved = pl.when(pl.int_range(pl.len()) == 0).then(pl.col("event_time") + pl.duration(minutes=1))
    answer(month, CHAMPION, rows.with_columns(event_time=moved))
    expected = [rows["event_time"][0] + timedelta(minutes=1), *rows["event_time"][1:].to_list()]
    assert served(month)["event_time"].to_list() == expected, "a time that was sent is kept"


def test_the_batch_has_the_same_requests_under_the_same_names(month: StackOutputs) -> None:
    frame = inputs.batch(MODEL, Tables(month), MONTH)
    assert frame is not None
    assert frame.columns == ["request_id", *NAMES]
    assert frame.height == features(MONTH).height


def test_the_reference_is_what_the_champion_learned_from_though_the_table_has_gone_on(outputs: StackOutputs) -> None:
    assert inputs.champion(Ledger.of(outputs)) is None
    version = put_month(outputs, "2013-01", features("2013-01").head(50))
    put_month(outputs, MONTH, features(MONTH).head(20))
    promote(outputs, 1, evaluation={}, decision="00000000")
    promote(outputs, 2, months=("2013-01",), version=version, evaluation={"losses": {"candidate": 0.12}}, decision="00000004")
    put_month(outputs, "2013-01", features("2013-01").head(10))
    ledger = Ledger.of(outputs)
    champion = inputs.champion(ledger)
    assert champion is not None
    reference = inputs.reference(MODEL, Tables(outputs), champion)
    assert reference is not None
    assert reference.height == 50, "a correction that came later is not what it learned from"
    assert reference.columns == [MODEL.event_time, *NAMES]
    assert inputs.promised(records(outputs), champion) == 0.12
    assert inputs.released(ledger) == 2
    assert inputs.promoted(ledger) == {"00000000", "00000004"}
