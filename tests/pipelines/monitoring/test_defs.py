"""The monitoring assets as Dagster runs them, on real tables: what a month is called, and what it starts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from pipelines.data import defs as data
from pipelines.monitoring import decisions, defs
from pipelines.orchestration import Platform, RecordIOManager
from stacks.outputs import StackOutputs
from tests.pipelines.monitoring.flights import features, fitted, served
from tests.pipelines.monitoring.served import answer, promote, put_month, records

LEARNED = ("2013-01", "2013-02", "2013-03")
ASSETS = ("data_quality", "data_drift", "performance", "concept_drift", "triage", "retraining_decision")
TEMP, ROW = pl.col("temp"), pl.int_range(pl.len())


class Year:
    """A champion that learned from the first three months, and whatever a test lets happen after."""

    def __init__(self, outputs: StackOutputs, platform: Platform) -> None:
        self.outputs, self.platform = outputs, platform
        for month in LEARNED:
            version = put_month(outputs, month, features(month))
        promote(outputs, 1)
        losses = {"losses": {"candidate": 0.12}}
        self.champion = promote(outputs, 2, months=LEARNED, version=version, evaluation=losses, decision="-").id
        self.booster = fitted(pl.concat([features(month) for month in LEARNED]).gather_every(3))

    def month(self, name: str, change: pl.Expr | None = None, label: pl.Expr | None = None, days: int = 32) -> dict[str, Any]:
        """The month is flown, one flight in nine asks, its batch arrives; returns the record of every asset."""
        batch = features(name) if label is None else features(name).with_columns(label)
        put_month(self.outputs, name, batch)
        asked = batch.filter(pl.col("event_time") < pl.col("event_time").min() + pl.duration(days=days)).gather_every(9)
        answer(self.outputs, self.champion, served(self.booster, asked if change is None else asked.with_columns(change)))
        return self.judged(name)

    def judged(self, name: str) -> dict[str, Any]:
        objects = records(self.outputs)
        for upstream, record in {"features": {}, "landed": {"delivery": 1}}.items():
            objects.put(f"records/{upstream}/{name}.json", json.dumps(record).encode())
        done = dg.materialize(
            [*(data.build().assets or []), *(defs.build().assets or [])],  # type: ignore[list-item]  # what a room holds is wider
            selection=dg.AssetSelection.groups("monitoring"),
            partition_key=name,
            resources={"platform": self.platform, "io_manager": RecordIOManager(platform=self.platform)},
        )
        return {asset: done.output_for_node(asset) for asset in ASSETS}

    def requests(self) -> list[dg.RunRequest]:
        """What the retraining sensor asks for now."""
        definitions = dg.Definitions.merge(defs.build(), dg.Definitions(resources={"platform": self.platform}))
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, resources={"platform": self.platform})
            found = next(iter(definitions.sensors or []))(context)
            assert isinstance(found, Iterator)
            return [one for one in found if isinstance(one, dg.RunRequest)]


@pytest.fixture
def year(outputs: StackOutputs, tmp_path: Path) -> Year:
    path = tmp_path / "outputs.json"
    path.write_text(outputs.to_json())
    return Year(outputs, Platform(outputs_file=str(path)))


def test_a_year_is_told_apart_month_by_month_and_the_log_keeps_what_follows(year: Year) -> None:
    # The live feed loses its temperature in every second request.
    april = year.month("2013-04", change=pl.when(ROW % 2 == 0).then(TEMP).alias("temp"))
    assert april["triage"]["cause"] == "data_quality"
    kinds = [(one["column"], one["kind"]) for one in april["data_quality"]["findings"]]
    assert kinds == [("temp", "nulls"), ("temp", "skew")]
    assert april["retraining_decision"]["action"] == "none"
    # The callers send Celsius: no bound sees it, the batch does.
    may = year.month("2013-05", change=(TEMP - 32) / 1.8)
    assert may["triage"]["cause"] == "data_quality"
    assert [(one["column"], one["kind"]) for one in may["data_quality"]["findings"]] == [("temp", "skew")]
    # The world turns: what was late is on time.
    june = year.month("2013-06", label=(1 - pl.col("label")).alias("label"))
    assert june["data_quality"]["findings"] == []
    assert "temp" in june["data_drift"]["drifted"]
    assert set(june["data_drift"]["where"]) == set(june["data_drift"]["drifted"])
    assert june["performance"]["worse"]
    assert june["triage"]["cause"] == "concept_drift"
    decision = june["retraining_decision"]
    assert decision["action"] == "retrain"
    assert decision["partitions"] == [*LEARNED, "2013-06"], "the two months with a faulty feed are not learned from"
    assert "left out, their feed was faulty: 2013-04, 2013-05" in decision["reasons"][-1]
    # Run again after a kill, the step finds its decision; the sensor asks for one training.
    assert year.judged("2013-06")["retraining_decision"] == decision
    (request,) = year.requests()
    assert request.run_key == f"decision-{decision['id']}"
    assert request.tags[decisions.DECISION_TAG] == decision["id"]
    config = request.run_config["ops"]["training_set"]["config"]
    assert config == {
        "kind": "challenger",
        "partitions": decision["partitions"],
        "reason": "concept_drift in 2013-06",
        "decision": decision["id"],
    }
    # The callers stop on the fourth of July; in August nobody asks at all.
    july = year.month("2013-07", days=4)
    assert july["triage"]["cause"] == "not_enough_labels"
    assert july["triage"]["reasons"][-1] == "too few days to compare the inputs"
    put_month(year.outputs, "2013-08", features("2013-08"))
    august = year.judged("2013-08")
    assert august["triage"]["cause"] == "not_served"
    assert august["retraining_decision"]["reasons"] == ["nothing was served in this month"]
    assert len(decisions.read(year.platform.bucket("ledger"))) == 5


def test_before_anything_serves_the_first_month_asks_for_a_baseline_once(outputs: StackOutputs, tmp_path: Path) -> None:
    path = tmp_path / "outputs.json"
    path.write_text(outputs.to_json())
    empty = Year.__new__(Year)
    empty.outputs, empty.platform = outputs, Platform(outputs_file=str(path))
    made = {}
    for month in LEARNED[:2]:
        put_month(outputs, month, features(month).head(10))
        made[month] = empty.judged(month)["retraining_decision"]
    assert [made[month]["action"] for month in LEARNED[:2]] == ["baseline", "none"]
    (request,) = empty.requests()
    assert request.run_config["ops"]["training_set"]["config"]["kind"] == "baseline"
