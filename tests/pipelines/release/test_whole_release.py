"""Releases with every part real: store, tables, Envoy, model servers under the supervisor; callers never stop asking."""

import asyncio
import dataclasses
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import polars as pl
import pytest

from pipelines.data.labels import append_labels
from pipelines.release import controller, gates, record
from pipelines.release.chain import serving_at
from pipelines.release.control import Controller
from pipelines.release.fleet_local import LocalFleet
from pipelines.release.ledger import Ledger
from pipelines.release.platform import ServerFailed
from pipelines.release.policy import ReleasePolicy
from pipelines.release.record import Release, Stage
from pipelines.release.rollback import roll_back
from pipelines.tables import Tables
from stacks.local import paths
from stacks.local.supervisor import Supervisor
from stacks.outputs import StackOutputs
from tests.pipelines.release.callers import ask
from tests.pipelines.serving import tiny

POLICY = ReleasePolicy(
    tick_s=0.2, shadow_answers=100, shadow_pairs=60, canary_requests=(15, 40, 80), canary_blocks=(4, 6, 8), block_pairs=20
)
FLUSH_S = 0.5
GOOD = tiny.WEIGHTS
BETTER = (0.00042, -0.2, 0.03)
BAD = (-0.0012, 0.9, 0.03)
"""Answers the opposite of what it should: worse on every label, fine in every other respect."""
START = datetime(2013, 6, 1, tzinfo=UTC)


class Callers:
    """Ask without a pause, forty requests an event hour; outcomes become known three hours later. The champion is right."""

    def __init__(self, outputs: StackOutputs) -> None:
        self.url, self.tables = outputs.gateway.url, Tables(outputs)
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []
        self._rng = np.random.default_rng(11)
        self._sent = 0
        self._labels: list[tuple[str, float, datetime]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "Callers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(self._feed(), *(self._call(session) for _ in range(4)))

    async def _call(self, session: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            distance = float(self._rng.uniform(100, 4000))
            chance = 1 / (1 + np.exp(-0.0004 * distance))
            number, self._sent = self._sent, self._sent + 1
            moment = START + timedelta(hours=number / 40)
            row = {
                "id": f"q{number}",
                "time": moment.isoformat(),
                "features": {"distance": distance, "carrier": "AA", "wind": 0.0},
            }
            self._labels.append((f"q{number}", float(self._rng.random() < chance), moment + timedelta(hours=3)))
            await ask(session, self.url, [row], self.answers, self.failed)
            await asyncio.sleep(0.015)

    async def _feed(self) -> None:
        schema: dict[str, Any] = {"request_id": pl.String, "label": pl.Float64, "known_at": pl.Datetime("us", "UTC")}
        done = 0
        while not self._stop.is_set():
            known = max(done, self._sent - 120)
            if known > done:
                frame = pl.DataFrame(self._labels[done:known], schema=schema, orient="row")
                await asyncio.to_thread(append_labels, self.tables, frame)
                done = known
            await asyncio.sleep(FLUSH_S)


class Running:
    """The controller's loop in a thread; `again` ends it where it is and starts a new one that knows nothing."""

    def __init__(self, outputs: StackOutputs) -> None:
        self.outputs, self.home = outputs, Path(outputs.state_dir or "")
        self.status_file = self.home / "controller.json"
        self._start()

    def _start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=controller.run, args=(real_controller(self.outputs), self.status_file, self._stop), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def again(self) -> None:
        self.stop()
        self._start()


def real_controller(outputs: StackOutputs) -> Controller:
    home = Path(outputs.state_dir or "")
    made = controller.local(outputs, paths.outputs(home), home)
    made.policy = POLICY
    assert isinstance(made.fleet, LocalFleet)
    made.fleet._restored["sha256:none"] = python(home)
    return made


def python(home: Path) -> Path:
    """Stands in for an image's python: this environment's, with the checkout's code. Images are the serving room's tests."""
    import sys

    path = home / "python"
    if not path.exists():
        path.write_text(f'#!/bin/sh\ncd {paths.PROJECT} && exec {sys.executable} "$@"\n')
        path.chmod(0o755)
    return path


def publish(outputs: StackOutputs, number: int, weights: tuple[float, ...]) -> Release:
    release = tiny.publish(outputs, number=number, packaged=tiny.package(weights=weights), flush_s=FLUSH_S)
    Ledger.of(outputs).append(release.id, Stage.CANDIDATE, from_=None, who="test", why="test")
    return release


def wait(what: str, condition: Callable[[], bool], status: Path, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: {status.read_text() if status.exists() else 'no status'}"
        time.sleep(0.05)


@pytest.fixture
def loop(running: StackOutputs) -> Iterator[Running]:
    """A controller at work. It removes every server that no release needs: a test with servers of its own goes without."""
    found = Running(running)
    yield found
    found.stop()


def test_releases_go_live_and_back_while_callers_lose_nothing(running: StackOutputs, loop: Running) -> None:
    ledger, status = Ledger.of(running), loop.status_file

    def stage(release: Release) -> Stage | None:
        return ledger.state(release.id)

    first = publish(running, 1, GOOD)
    wait("the first release serves", lambda: stage(first) is Stage.PRODUCTION, status)
    wait("callers reach it", lambda: _asks(running) == first.id, status)
    with Callers(running) as callers:
        second = publish(running, 2, BETTER)
        wait("the second is in canary", lambda: stage(second) is Stage.CANARY, status)
        loop.again()
        wait("the second serves", lambda: stage(second) is Stage.PRODUCTION, status)
        wait("all callers reach it", lambda: _asks(running) == second.id, status)

        bad = publish(running, 3, BAD)
        wait("the bad one meets callers", lambda: stage(bad) is Stage.CANARY, status)
        wait("the bad one is rolled back", lambda: stage(bad) is Stage.ROLLED_BACK, status)
        wait("its server is gone", lambda: f"serving-{bad.id}" not in Supervisor(loop.home).states(), status)

        roll_back(ledger, to=None, who="operator", why="complaints")
        began = time.monotonic()
        wait("the first serves again", lambda: _asks(running) == first.id, status)
        assert time.monotonic() - began < 5, "its server was kept warm"
    assert callers.failed == [], "not one request failed in all this"
    assert callers.answers[second.id] > 100

    records = ledger.records()
    why = next(move for move in records if move.to is Stage.ROLLED_BACK and move.release == bad.id)
    assert why.evidence["loss"]["mean"] > 0
    assert why.evidence["loss"]["evidence_of_harm"] >= why.evidence["harm_at"]
    shadow = next(move for move in records if move.to is Stage.CANARY and move.release == second.id)
    assert shadow.evidence["answers"] >= POLICY.shadow_answers
    assert shadow.evidence["failed"] == 0
    assert serving_at(records, datetime.now(UTC)) == {first.id: 100}
    assert ledger.verify().problems == ()
    wait("the status says so", lambda: json.loads(status.read_text())["production"] == first.id, status)


def _fleet(outputs: StackOutputs) -> LocalFleet:
    home = Path(outputs.state_dir or "")
    fleet = LocalFleet.of(outputs, paths.outputs(home))
    fleet._restored["sha256:none"] = python(home)
    return fleet


def _asks(outputs: StackOutputs) -> str | None:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{outputs.gateway.url}/v1/model", timeout=3) as answer:  # noqa: S310 - loopback
            told: dict[str, str] = json.load(answer)
            return told["release"]
    except urllib.error.HTTPError as error:
        error.close()
        return None


def test_a_server_that_cannot_start_is_told_with_its_last_words(running: StackOutputs) -> None:
    fleet = _fleet(running)
    release = tiny.publish(running, number=9)
    damaged = release.model_copy(update={"id": "r0099-ffffffff"})  # no such record
    with pytest.raises(ServerFailed, match="there is no release 'r0099-ffffffff'"):
        while not fleet.ensure(damaged):
            time.sleep(0.1)
    assert "r0099-ffffffff" in fleet.running()
    fleet.remove(damaged.id)
    assert "r0099-ffffffff" not in fleet.running()


def test_a_new_fleet_finds_the_servers_and_their_ports(running: StackOutputs) -> None:
    release = tiny.publish(running, number=8)
    found = []
    for _ in range(2):
        fleet = _fleet(running)
        while not (endpoints := fleet.ensure(release)):
            time.sleep(0.05)
        found.append((endpoints, Supervisor(fleet.home).states()[f"serving-{release.id}"].pid))
    assert found[0] == found[1], "neither moved nor started anew"
    smoked = gates.smoke(release, tiny.package(), found[0][0])
    assert smoked.problems == ()
    assert smoked.rows == 2
    other = dataclasses.replace(tiny.package(), expected=[0.1, 0.9])
    assert "answers differ" in gates.smoke(release, other, found[0][0]).problems[0]
    fleet.remove(release.id)
    assert gates.smoke(release, tiny.package(), found[0][0]).problems, "a server that is gone is a finding, not a crash"
    assert record.load(Ledger.of(running).objects, release.id) == release
