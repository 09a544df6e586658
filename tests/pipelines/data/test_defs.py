"""The data room in Dagster: what a delivery starts, and where a faulty month stops."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.data import defs, landing
from pipelines.data.faults import damage
from pipelines.data.landing import Delivery
from pipelines.flight_delay.model import MODEL
from pipelines.orchestration import Platform, RecordIOManager
from stacks.outputs import StackOutputs

MONTH = "2013-06"


@pytest.fixture
def platform(outputs: StackOutputs, tmp_path: Path) -> Iterator[Platform]:
    path = tmp_path / "outputs.json"
    path.write_text(outputs.to_json())
    yield Platform(outputs_file=str(path))


def _tick(
    repository: dg.RepositoryDefinition, platform: Platform, instance: dg.DagsterInstance, cursor: str | None
) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"platform": platform}, repository_def=repository
    )
    found = repository.get_sensor_def("landing_sensor")(context)
    if isinstance(found, dg.SensorResult):
        return found
    assert isinstance(found, dg.SkipReason)
    return dg.SensorResult(skip_reason=found, cursor=cursor)


def test_a_faulty_month_stops_at_the_door_and_its_correction_goes_through(platform: Platform) -> None:
    objects = platform.bucket("data")
    month = dict(MODEL.deliver(MONTH))
    before = {(d.partition, d.number) for d in landing.deliveries(objects)}
    sick = month | {"flights": damage(month["flights"], numeric="distance", categorical="carrier", entity="flight_id")}
    io = RecordIOManager(platform=platform)
    definitions = dg.Definitions.merge(
        defs.build(), dg.Definitions(resources={"platform": platform, "io_manager": io}, executor=dg.in_process_executor)
    )
    repository = definitions.get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = _tick(repository, platform, instance, None).cursor if before else None
        runs = []
        for frames in (sick, month):
            delivery = landing.deliver(objects, MONTH, frames)
            tick = _tick(repository, platform, instance, cursor)
            assert [request.run_key for request in tick.run_requests or []] == [f"{MONTH}/{delivery.number}"]
            again = _tick(repository, platform, instance, tick.cursor)
            assert not again.run_requests, "a delivery is asked for once"
            cursor = tick.cursor
            request = (tick.run_requests or [])[0]
            job = definitions.resolve_job_def("process_month")
            runs.append(
                job.execute_in_process(
                    instance=instance, partition_key=request.partition_key, run_config=request.run_config, raise_on_error=False
                )
            )
        held, passed = runs
        made = {event.asset_key.to_user_string() for event in held.get_asset_materialization_events() if event.asset_key}
        assert made == {"landed", "validated"}, "features of a faulty month are not built"
        check = held.get_asset_check_evaluations()[0]
        assert not check.passed
        assert "break the contract" in str(check.metadata["held_back"].value)
        assert check.metadata["sample"].value, "the page shows rows, not only counts"
        assert passed.success
        features = platform.tables.scan("features")
        assert features is not None
        assert features.filter(_partition=MONTH).collect().height == month["flights"].height


def test_deliveries_are_asked_for_in_order_and_a_lost_cursor_asks_with_the_same_keys(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [Delivery("2013-01", 1), Delivery("2013-02", 1), Delivery("2013-02", 2)]
    monkeypatch.setattr(landing, "deliveries", lambda objects: there)
    repository = dg.Definitions.merge(defs.build(), dg.Definitions(resources={"platform": platform})).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        first, lost = (_tick(repository, platform, instance, None) for _ in range(2))
        keys = [request.run_key for request in first.run_requests or []]
        assert keys == ["2013-01/1", "2013-02/1", "2013-02/2"]
        assert [request.run_key for request in lost.run_requests or []] == keys
        assert json.loads(first.cursor or "") == keys
