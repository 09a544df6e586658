"""Training under kills: the real worker, the real store, SIGKILL at boundaries and in between."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from pipelines.flight_delay.model import MODEL
from pipelines.objects import Objects
from pipelines.tables import Tables
from pipelines.training import dataset, work
from pipelines.training.checkpoints import Checkpoint, Checkpoints, Fenced
from pipelines.training.launcher import Event, Placement
from pipelines.training.process_launcher import ProcessLauncher
from pipelines.training.supervise import TrainingFailed, run
from pipelines.training.worker import seed_of
from stacks.errors import UserError
from stacks.outputs import StackOutputs

PARAMS = {**MODEL.params, "nthread": 1, "rounds_per_segment": 8}
SPOT = Placement("spot", "asked for by the test")


@pytest.fixture(scope="module")
def chosen(stack_store: StackOutputs) -> dataset.TrainingSet:
    tables = Tables(stack_store)
    frame = MODEL.build_features(MODEL.deliver("2013-12")).gather_every(2).with_columns(pl.lit("2013-12").alias("_partition"))
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
    launcher, checkpoints = _launcher(stack_store, chosen, "reclaimed")
    events = _train(launcher, checkpoints, kill_after=(0, 2, 4))
    kinds = [event.kind for event in events]
    assert kinds.count("preempted") == 3, kinds
    assert kinds[-1] == "succeeded"
    assert kinds.count("committed") == MODEL.trainer.segments, "no segment is committed twice and none is lost"
    final, data, undisturbed = checkpoints.latest(), dataset.matrices(MODEL, Tables(stack_store), chosen), None
    for segment in range(MODEL.trainer.segments):
        seed = seed_of(1, segment)
        undisturbed, _ = MODEL.trainer.fit_segment(undisturbed, data, segment=segment, seed=seed, params=PARAMS)
    assert final is not None
    assert final.state == undisturbed, "a reclaimed training must end in the same bytes as one that nothing disturbed"


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


def test_a_failure_is_no_preemption_and_a_second_try_is_a_new_one(
    stack_store: StackOutputs, chosen: dataset.TrainingSet
) -> None:
    launcher, checkpoints = _launcher(stack_store, chosen, "sick")
    spec = checkpoints.objects.get("checkpoints/sick/spec.json")
    checkpoints.objects.put(
        "checkpoints/sick/spec.json", json.dumps({"training_set": "gone", "seed": 1, "params": {}}).encode()
    )
    with pytest.raises(TrainingFailed, match="gone"):
        _train(launcher, checkpoints)
    checkpoints.objects.put("checkpoints/sick/spec.json", spec)
    assert _train(launcher, checkpoints)[-1].kind == "succeeded", "the end of an earlier try is not found again"
    last = checkpoints.committed()[-1]["parts"]["state"]
    checkpoints.objects.put(last["key"], b"damaged")
    assert _train(launcher, checkpoints)[-1].kind == "succeeded", "a damaged last checkpoint is trained anew"
    healed = checkpoints.latest()
    assert healed is not None
    assert healed.segment == MODEL.trainer.segments - 1
    assert [event.kind for event in _train(launcher, checkpoints)] == ["succeeded"], "what is done is not done again"


def test_submits_at_the_same_time_start_one_worker(stack_store: StackOutputs, chosen: dataset.TrainingSet) -> None:
    launcher, _ = _launcher(stack_store, chosen, "at-once")
    with ThreadPoolExecutor(4) as pool:
        handles = list(pool.map(lambda _: launcher.submit("at-once", 0, SPOT), range(4)))
    assert len({handle.about["pid"] for handle in handles}) == 1
    pid = handles[0].about["pid"]
    (launcher.folder / "at-once-e0.pid").unlink()
    found = launcher.reattach("at-once", 0)
    assert found is not None
    assert found.about["pid"] == pid, (
        "a launcher that died before it wrote the pid leaves a worker that is found by its command"
    )
    os.kill(pid, signal.SIGKILL)
    assert list(launcher.events(handles[0]))[-1].detail["reason"] == "killed"
    assert launcher.reattach("at-once", 0) is None


def test_a_worker_whose_work_has_moved_on_leaves_without_failing(
    stack_store: StackOutputs, chosen: dataset.TrainingSet
) -> None:
    launcher, checkpoints = _launcher(stack_store, chosen, "moved")
    handle = launcher.submit("moved", 0, SPOT)
    checkpoints.begin_epoch(1, {})
    last = list(launcher.events(handle))[-1]
    assert (last.kind, checkpoints.committed()) == ("preempted", [])
    assert "epoch 1 has begun" in last.detail["reason"]


def test_a_store_that_is_away_is_one_clear_line(stack_store: StackOutputs) -> None:
    away = stack_store.object_store.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    with pytest.raises(UserError, match="cannot be reached"):
        Checkpoints(Objects(away, "artifacts"), "away").commit(Checkpoint(0, b"a", {}, 0), seconds=1)


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
    marker = "checkpoints/damaged/commits/0001.json"
    checkpoints.objects.put(marker, b'{"segm')
    found = checkpoints.latest()
    assert found is not None
    assert found.segment == 0
    assert len(checkpoints.committed()) == 2, "a torn marker commits nothing"
    checkpoints.commit(Checkpoint(1, b"anew", {}, 0), seconds=1)
    healed = checkpoints.latest()
    assert healed is not None
    assert healed.state == b"anew", "and stands in nobody's way"


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
    stack_store: StackOutputs, chosen: dataset.TrainingSet
) -> None:
    launcher, checkpoints = _launcher(stack_store, chosen, "orphan")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(launcher.outputs_file), "orphan"])
    pid_file = launcher.folder / "orphan-e0.pid"
    deadline = time.monotonic() + 60
    while not pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    pid = json.loads(pid_file.read_text())["pid"]
    events = list(run(launcher, checkpoints, segments=MODEL.trainer.segments, deadline_s=3600))
    assert [event.detail["pid"] for event in events if event.kind == "started"] == [pid], "it is found, not doubled"
    assert events[-1].kind == "succeeded"


PARENT = """
import sys
from pathlib import Path
from pipelines.objects import Objects
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.process_launcher import ProcessLauncher
from pipelines.training.supervise import run
from stacks.outputs import StackOutputs

outputs = StackOutputs.load(Path(sys.argv[1]))
checkpoints = Checkpoints(Objects(outputs.object_store, "artifacts"), sys.argv[2])
list(run(ProcessLauncher(Path(sys.argv[1]), outputs.state_dir, checkpoints), checkpoints, segments=8, deadline_s=3600))
"""
