"""The training assets as Dagster runs them, on the real store: what the UI shows, and what a second run does not do again."""

from typing import Any

import dagster as dg
import polars as pl
import psutil
import pytest

from pipelines.flight_delay.model import MODEL
from pipelines.orchestration import Platform, RecordIOManager
from pipelines.tables import Tables
from pipelines.training import defs
from stacks.outputs import StackOutputs


@pytest.fixture
def resources(outputs: StackOutputs) -> dict[str, Any]:
    month = MODEL.build_features(MODEL.deliver("2013-11")).with_columns(pl.lit("2013-11").alias("_partition"))
    Tables(outputs).replace("features", month, partition_by=["_partition"], predicate="_partition = '2013-11'")
    assert outputs.state_dir is not None
    platform = Platform(outputs_file=str(outputs.state_dir / "outputs.json"))
    return {"platform": platform, "io_manager": RecordIOManager(platform=platform)}


def test_a_run_trains_and_judges_and_a_second_run_starts_no_second_worker(resources: dict[str, Any]) -> None:
    assets = [defs.training_set, defs.trained_model, defs.evaluation]
    config = dg.RunConfig(ops={"training_set": defs.TrainingConfig(partitions=["2013-11"], reason="test")})
    first = dg.materialize(assets, resources=resources, run_config=config)
    assert first.success
    trained = first.output_for_node("trained_model")
    kinds = [event["kind"] for event in trained["events"]]
    assert kinds == ["started", *["committed"] * MODEL.trainer.segments, "succeeded"]
    seen = [event.asset_observation_data for event in first.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    assert len(seen) == len(kinds), "the UI's timeline has every event"
    checks = {check.check_name: check.passed for check in first.get_asset_check_evaluations()}
    assert checks == dict.fromkeys(defs.CHECKS, True)
    assert not psutil.pid_exists(trained["events"][0]["pid"]), "no worker is left"
    second = dg.materialize(assets, resources=resources, run_config=config)
    again = second.output_for_node("trained_model")
    assert [event["kind"] for event in again["events"]] == ["succeeded"]
    assert (again["work"], again["graph"]) == (trained["work"], trained["graph"])


def test_the_baseline_needs_no_worker_and_is_not_asked_to_beat_itself(resources: dict[str, Any]) -> None:
    config = dg.RunConfig(ops={"training_set": defs.TrainingConfig(partitions=["2013-11"], kind="baseline")})
    done = dg.materialize([defs.training_set, defs.trained_model, defs.evaluation], resources=resources, run_config=config)
    assert done.output_for_node("trained_model")["events"] == []
    assert all(check.passed for check in done.get_asset_check_evaluations())
    assert done.output_for_node("evaluation")["checks"][0]["reason"].startswith("this is the baseline")
