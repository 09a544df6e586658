"""The model of docs/bring-your-own-model.md through the whole loop: data, training, release, traffic, monitoring."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cli.demo.scene import Scene
from pipelines.release.policy import ReleasePolicy
from pipelines.release.record import Stage
from tests.byo.model import MODEL
from tests.stores import up

# Six jobs an event hour, not hundreds of flights: less evidence, so that the test ends within its minute.
POLICY = ReleasePolicy(shadow_answers=60, shadow_pairs=60, canary_requests=(15, 40, 80), canary_blocks=(6, 12, 18))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A local stack that runs the tiny model in every part."""
    home: Path = tmp_path_factory.mktemp("byo")
    (home / "release-policy.json").write_text(POLICY.to_json())
    with up(home, model="tests.byo") as outputs:
        found = Scene(Console(quiet=True), outputs, time.monotonic())
        yield found
        found.world.stop()


@pytest.mark.timeout(240)
def test_a_second_model_goes_through_the_whole_loop(scene: Scene) -> None:
    first, second, third = MODEL.partitions[:3]

    def deliver(partition: str) -> None:
        run = scene.processed(scene.deliver(partition, MODEL.deliver(partition)))
        assert run.status == "SUCCESS", scene.dagster.why_failed(run.id)

    deliver(first)
    baseline = scene.wait("the baseline serves", scene.production)
    assert baseline.model.name == MODEL.name

    deliver(second)
    assert (scene.record("retraining_decision", second) or {})["action"] == "train"
    candidate = scene.wait("the trained model is a candidate", scene.ledger.in_flight)
    trained = scene.record("trained_model") or {}
    assert [event["segment"] for event in trained["events"] if event["kind"] == "committed"] == [0, 1, 2]
    assert (scene.record("registered_model") or {})["version"] == "2", "the baseline is the first"

    # A busy machine may need more callers than one small month has: they go on until the release is decided.
    for month in MODEL.partitions[2:]:
        scene.narrate()
        scene.world.start(month)
        scene.wait(f"{month} is over", lambda: None if scene.world.busy else True)
        scene.world.settle()
        if scene.ledger.in_flight() is None:
            break
    assert scene.ledger.production() == candidate
    way = [(record.to, record.weight) for record in scene.ledger.records() if record.release == candidate]
    assert way == [
        (Stage.CANDIDATE, None),
        (Stage.STAGING, None),
        (Stage.SHADOW, None),
        (Stage.CANARY, 5),
        (Stage.CANARY, 25),
        (Stage.CANARY, 50),
        (Stage.PRODUCTION, None),
    ]
    assert scene.world.tally.failed == 0, scene.world.tally.failures

    deliver(third)
    triage = scene.record("triage", third) or {}
    assert triage["cause"] in {"healthy", "not_enough_labels"}, triage
    assert scene.ledger.verify().problems == ()
