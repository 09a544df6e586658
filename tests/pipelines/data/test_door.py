"""A month at the door: what is kept, what is held back, and that nothing is lost."""

import polars as pl
import pytest

from pipelines.data import batches, contracts, features, landing
from pipelines.data.faults import damage
from pipelines.flight_delay.model import MODEL
from pipelines.objects import Objects
from pipelines.tables import Tables
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
    assert {"distance", "carrier", "flight_id"} <= {reason.split(":")[0] for reason in verdict.reasons}, verdict.reasons


def test_a_missing_source_and_a_collapsed_volume_hold_the_month_back(month: dict[str, pl.DataFrame]) -> None:
    missing = contracts.check(MODEL, {"flights": month["flights"]}, usual_rows={})
    assert [bool(verdict.faults) for verdict in missing] == [False, True, True]
    thin = contracts.check(MODEL, month, usual_rows={"flights": 3 * month["flights"].height})
    assert "the month before had" in thin[0].faults[0]


def test_a_held_back_month_leaves_silver_alone_and_the_corrected_one_passes(
    stack_store: StackOutputs, month: dict[str, pl.DataFrame]
) -> None:
    objects, tables = Objects(stack_store.object_store, "data"), Tables(stack_store)
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


def test_a_delivery_without_its_marker_does_not_exist_and_an_altered_one_is_refused(
    stack_store: StackOutputs, month: dict[str, pl.DataFrame]
) -> None:
    objects = Objects(stack_store.object_store, "data")
    objects.put("landing/2013-11/0001/flights.parquet", b"half written")
    assert landing.deliveries(objects, "2013-11") == []
    delivery = landing.deliver(objects, "2013-11", {"planes": month["planes"]})
    objects.put(f"{delivery.prefix}/planes.parquet", b"something else")
    with pytest.raises(Exception, match="not what its marker says"):
        landing.read(objects, delivery)
