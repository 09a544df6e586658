"""A month at the door: what is kept, what is held back, and that nothing is lost."""

from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from pipelines.data import batches, contracts, features, landing
from pipelines.data.faults import damage
from pipelines.flight_delay.model import MODEL
from pipelines.objects import Objects
from pipelines.tables import Tables
from stacks.errors import UserError
from stacks.outputs import StackOutputs


@pytest.fixture(scope="module")
def month() -> dict[str, pl.DataFrame]:
    return dict(MODEL.deliver("2013-02"))


def _sick(month: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return month | {"flights": damage(month["flights"], numeric="distance", categorical="carrier", entity="flight_id")}


def test_a_real_month_passes_and_its_one_odd_weather_reading_is_quarantined(month: dict[str, pl.DataFrame]) -> None:
    verdicts = {verdict.source: verdict for verdict in contracts.check(MODEL, month, usual_rows={})}
    assert not any(verdict.faults for verdict in verdicts.values()), "a real month must not be held back"
    assert verdicts["flights"].rejected.is_empty(), "every real flight of the month keeps the contract"
    assert "wind_speed" in next(iter(verdicts["weather"].reasons)), "1,048 mph at Newark is a real fault of the source"


def test_a_damaged_month_is_held_back_with_each_fault_named(month: dict[str, pl.DataFrame]) -> None:
    verdict = contracts.check(MODEL, _sick(month), usual_rows={})[0]
    assert verdict.faults, "three in a hundred rows of each kind are more than a feed may have"
    assert verdict.accepted.height + verdict.rejected.height == verdict.rows, "every row is on one side or the other"
    three_in_a_hundred = int(month["flights"].height * 0.03)
    assert {reason.split(":")[0]: count for reason, count in verdict.reasons.items()} == dict.fromkeys(
        ("distance", "carrier", "flight_id"), three_in_a_hundred
    ), "each fault is counted on its own rows"


def test_a_flight_that_arrives_before_it_left_and_a_clock_with_75_minutes_are_quarantined(
    month: dict[str, pl.DataFrame],
) -> None:
    row = pl.int_range(pl.len())
    odd = month["flights"].with_columns(
        pl.when(row == 3).then(pl.col("arrived") - pl.duration(hours=20)).otherwise(pl.col("arrived")).alias("arrived"),
        pl.when(row == 7).then(1275).otherwise(pl.col("sched_arr_time")).alias("sched_arr_time"),
    )
    verdict = contracts.check(MODEL, month | {"flights": odd}, usual_rows={})[0]
    assert verdict.rejected["flight_id"].to_list() == month["flights"]["flight_id"].gather([3, 7]).to_list()
    assert not verdict.faults, "two rows of 25,000 do not hold a month back"


@pytest.mark.parametrize("column", ["arrived", "sched_arr_time", "distance", "flight_id"])
def test_a_missing_column_holds_the_month_back_by_its_name(month: dict[str, pl.DataFrame], column: str) -> None:
    verdict = contracts.check(MODEL, month | {"flights": month["flights"].drop(column)}, usual_rows={})[0]
    assert verdict.faults
    assert verdict.reasons[f"{column}: no such column in the delivery"] == verdict.rows


def test_a_missing_source_and_a_collapsed_volume_hold_the_month_back(month: dict[str, pl.DataFrame]) -> None:
    missing = contracts.check(MODEL, {"flights": month["flights"]}, usual_rows={})
    assert [bool(verdict.faults) for verdict in missing] == [False, True, True]
    thin = contracts.check(MODEL, month, usual_rows={"flights": 3 * month["flights"].height})
    assert "the month before had" in thin[0].faults[0]


def test_a_held_back_month_leaves_silver_alone_and_the_corrected_one_passes(
    outputs: StackOutputs, month: dict[str, pl.DataFrame]
) -> None:
    objects, tables = Objects(outputs.object_store, outputs.object_store.buckets.data), Tables(outputs)
    first = landing.deliver(objects, "2013-02", _sick(month))
    batches.land(MODEL, objects, tables, first)
    held = batches.validate(MODEL, objects, tables, first)
    assert held.held
    assert tables.version("silver/flights") is None, "nothing of a faulty month goes on"
    bronze = tables.scan("bronze/flights")
    assert bronze is not None
    assert bronze.collect().height == held.rows["flights"], "everything delivered is kept"
    second = landing.deliver(objects, "2013-02", month)
    assert second.number == first.number + 1
    for _ in range(2):  # a retried step ends the same
        batches.land(MODEL, objects, tables, second)
        passed = batches.validate(MODEL, objects, tables, second)
        record = features.build(MODEL, tables, "2013-02")
    assert not passed.held
    assert record["rows"] == month["flights"].height
    built = tables.scan("features")
    assert built is not None
    assert built.collect().height == record["rows"], "the second run replaced the first"


def test_a_feed_that_writes_text_for_numbers_is_kept_as_it_came_and_held_back(
    outputs: StackOutputs, month: dict[str, pl.DataFrame]
) -> None:
    objects, tables = Objects(outputs.object_store, outputs.object_store.buckets.data), Tables(outputs)
    text = month["flights"].with_columns(pl.format("{} mi", "distance").alias("distance"), surprise=pl.lit(1.5))
    for frames in (month | {"flights": text.drop("air_time")}, month):
        delivery = landing.deliver(objects, "2013-04", frames)
        batches.land(MODEL, objects, tables, delivery)
        result = batches.validate(MODEL, objects, tables, delivery)
        assert bool(result.held) == (delivery.number == 1)
    bronze, aside = tables.scan("bronze/flights"), tables.scan("quarantine/flights")
    assert bronze is not None
    assert aside is not None
    for table in (bronze, aside):
        kept = table.filter(_partition="2013-04", _delivery=1).collect().sort("flight_id")
        assert kept.height == month["flights"].height, "nothing lost"
        stored = kept["_misfit"].str.json_path_match("$.distance")
        assert stored.to_list() == text.sort("flight_id")["distance"].to_list(), "what does not fit its column is kept as text"
        assert kept["surprise"].to_list() == [1.5] * kept.height


def test_repeating_an_old_run_does_not_undo_a_correction(outputs: StackOutputs, month: dict[str, pl.DataFrame]) -> None:
    objects, tables = Objects(outputs.object_store, outputs.object_store.buckets.data), Tables(outputs)
    short = {name: frame.head(2000) for name, frame in month.items()}
    old, new = landing.deliver(objects, "2013-09", short), landing.deliver(objects, "2013-09", month)
    for delivery in (old, new):
        batches.validate(MODEL, objects, tables, delivery)
    with pytest.raises(UserError, match="accepted already"):
        batches.validate(MODEL, objects, tables, old)
    silver = tables.scan("silver/flights")
    assert silver is not None
    assert silver.filter(_partition="2013-09").collect().height == month["flights"].height


def test_an_interrupted_delivery_and_two_senders_at_once_leave_only_whole_deliveries(
    outputs: StackOutputs, month: dict[str, pl.DataFrame]
) -> None:
    objects = Objects(outputs.object_store, outputs.object_store.buckets.data)
    whole = {name: frame.head(50) for name, frame in month.items()}
    objects.put("landing/2013-10/0001/weather.parquet", b"from a sender that was killed")
    with ThreadPoolExecutor(4) as pool:
        sent = list(
            pool.map(
                lambda n: (n, landing.deliver(objects, "2013-10", whole | {"flights": whole["flights"].head(n)})), (5, 6, 7, 8)
            )
        )
    assert landing.deliveries(objects, "2013-10") == sorted(delivery for _, delivery in sent)
    for rows, delivery in sent:
        assert landing.read(objects, delivery)["flights"].height == rows, "each sender's delivery is what it sent"


def test_a_delivery_without_its_marker_does_not_exist_and_an_altered_one_is_refused(
    outputs: StackOutputs, month: dict[str, pl.DataFrame]
) -> None:
    objects = Objects(outputs.object_store, outputs.object_store.buckets.data)
    objects.put("landing/2013-11/0001/flights.parquet", b"half written")
    assert landing.deliveries(objects, "2013-11") == []
    delivery = landing.deliver(objects, "2013-11", {"planes": month["planes"]})
    objects.put(f"{delivery.prefix}/planes.parquet", b"something else")
    with pytest.raises(UserError, match="not what its marker says"):
        landing.read(objects, delivery)
