"""Training under kills: the real worker, the real store, SIGKILL at boundaries and in between."""

import json
import os
import signal
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from pipelines.flight_delay.model import MODEL
from pipelines.objects import Objects
from pipelines.tables import Tables
from pipelines.training import dataset, work
from pipelines.training.checkpoints import Checkpoint, Checkpoints, Fenced
from pipelines.training.launcher import Event, Placement
from pipelines.training.process_launcher import ProcessLauncher
from pipelines.training.supervise import run
from stacks.outputs import StackOutputs

PARAMS = {**MODEL.params, "nthread": 1, "rounds_per_segment": 2}
SPOT = Placement("spot", "asked for by the test")


@pytest.fixture(scope="module")
def chosen(stack_store: StackOutputs) -> dataset.TrainingSet:
    tables = Tables(stack_store)
    frame = MODEL.build_features(MODEL.deliver("2013-12")).with_columns(pl.lit("2013-12").alias("_partition"))
    tables.replace("features", frame, partition_by=["_partition"], predicate="_partition = '2013-12'")
    chosen = dataset.choose(MODEL, tables, ["2013-12"], "days")
    dataset.save(_objects(stack_store), chosen)
    return chosen


def _objects(outputs: StackOutputs) -> Objects:
    return Objects(outputs.object_store, "artifacts")


def _launcher(outputs: StackOutputs, chosen: dataset.TrainingSet, name: str) -> tuple[ProcessLauncher, Checkpoints]:
    assert outputs.state_dir is not None
    checkpoints = Checkpoints(_objects(outputs), name)
    checkpoints.write_spec({"training_set": chosen.id, "seed": 1, "params": PARAMS})
    return ProcessLauncher(outputs.state_dir / "outputs.json", outputs.state_dir, checkpoints), checkpoints


def _train(launcher: ProcessLauncher, checkpoints: Checkpoints, kill_after: tuple[int, ...] = ()) -> list[Event]:
    events, committed, left, pid = [], 0, list(kill_after), 0
    for event in run(launcher, checkpoints, segments=MODEL.trainer.segments, deadline_s=3600):
        events.append(event)
        pid = event.detail.get("pid", pid)
        committed += event.kind == "committed"
        if left and committed == left[0] and event.kind in {"committed", "started"}:
            left.pop(0)
            os.kill(pid, signal.SIGKILL)
    return events


def test_a_run_killed_three_times_ends_in_the_same_bytes_and_redoes_a_segment_at_most(
    stack_store: StackOutputs, chosen: dataset.TrainingSet
) -> None:
    quiet_launcher, quiet = _launcher(stack_store, chosen, "undisturbed")
    _train(quiet_launcher, quiet)
    launcher, checkpoints = _launcher(stack_store, chosen, "reclaimed")
    events = _train(launcher, checkpoints, kill_after=(0, 2, 5))
    kinds = [event.kind for event in events]
    assert kinds.count("preempted") == 3, kinds
    assert kinds[-1] == "succeeded"
    assert kinds.count("committed") == MODEL.trainer.segments, "no segment is committed twice and none is lost"
    final, undisturbed = checkpoints.latest(), quiet.latest()
    assert final is not None
    assert undisturbed is not None
    assert final.state == undisturbed.state, "a reclaimed training must end in the same bytes"


def test_a_second_submit_finds_the_running_worker_and_sigterm_is_a_preemption(
    stack_store: StackOutputs, chosen: dataset.TrainingSet
) -> None:
    launcher, _ = _launcher(stack_store, chosen, "twice")
    first, second = launcher.submit("twice", 0, SPOT), launcher.submit("twice", 0, SPOT)
    assert first == second, "the same work in the same epoch runs once"
    events = launcher.events(second)
    assert next(events).kind == "started"
    assert next(events).kind == "committed", "by now the worker listens for signals"
    os.kill(first.about["pid"], signal.SIGTERM)
    last = list(events)[-1]
    assert last.kind == "preempted"
    assert "SIGTERM" in last.detail["reason"]


def test_a_worker_that_fails_is_a_failure_and_not_a_preemption(stack_store: StackOutputs, chosen: dataset.TrainingSet) -> None:
    launcher, checkpoints = _launcher(stack_store, chosen, "sick")
    checkpoints.objects.put(
        "checkpoints/sick/spec.json", json.dumps({"training_set": "gone", "seed": 1, "params": {}}).encode()
    )
    with pytest.raises(Exception, match="gone"):
        _train(launcher, checkpoints)


def test_a_torn_or_damaged_checkpoint_is_skipped_and_the_one_before_is_used(
    stack_store: StackOutputs, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(_objects(stack_store), "damaged")
    for segment in range(3):
        checkpoints.commit(Checkpoint(segment, bytes([segment]) * 10, {}, 0), seconds=1)
    part = checkpoints.committed()[2]["parts"]["state"]["key"]
    checkpoints.objects.put(part, b"torn")
    found = checkpoints.latest()
    assert found is not None
    assert found.segment == 1
    assert "skipped" in caplog.text


def test_an_older_epoch_is_fenced_out_and_other_bytes_for_a_segment_are_refused(stack_store: StackOutputs) -> None:
    checkpoints = Checkpoints(_objects(stack_store), "fenced")
    assert checkpoints.begin_epoch(0, {})
    assert not checkpoints.begin_epoch(0, {}), "an epoch is claimed once"
    checkpoints.commit(Checkpoint(0, b"a", {}, 0), seconds=1)
    checkpoints.commit(Checkpoint(0, b"a", {}, 0), seconds=1)
    with pytest.raises(Fenced, match="another writer"):
        checkpoints.commit(Checkpoint(0, b"b", {}, 0), seconds=1)
    checkpoints.begin_epoch(1, {})
    with pytest.raises(Fenced, match="epoch 1 has begun"):
        checkpoints.commit(Checkpoint(1, b"c", {}, 0), seconds=1)


def test_the_same_choice_is_the_same_training_set_and_the_same_work(
    stack_store: StackOutputs, chosen: dataset.TrainingSet
) -> None:
    again = dataset.choose(MODEL, Tables(stack_store), ["2013-12"], "days")
    assert work.name_of(MODEL, again) == work.name_of(MODEL, chosen)
    train, held_out = dataset.parts(MODEL, Tables(stack_store), again)
    days = [set(part["event_time"].dt.date().to_list()) for part in (train, held_out)]
    assert not days[0] & days[1], "a held-out day is held out whole"


def test_the_parents_death_leaves_the_worker_and_a_later_run_finds_it(
    stack_store: StackOutputs, chosen: dataset.TrainingSet, tmp_path: Path
) -> None:
    launcher, checkpoints = _launcher(stack_store, chosen, "orphan")
    handle = launcher.submit("orphan", 0, SPOT)
    # What a dead parent leaves is the record in the store and the pid file; a new launcher has nothing else.
    fresh = ProcessLauncher(launcher.outputs_file, launcher.home, checkpoints)
    events = list(run(fresh, checkpoints, segments=MODEL.trainer.segments, deadline_s=3600))
    assert events[0].detail["pid"] == handle.about["pid"], "the running worker is found, not doubled"
    assert events[-1].kind == "succeeded"
    deadline = time.monotonic() + 5
    while psutil.pid_exists(handle.about["pid"]) and time.monotonic() < deadline:
        if psutil.Process(handle.about["pid"]).status() == psutil.STATUS_ZOMBIE:
            break
