"""Servers under traffic: what is lost when they are stopped, killed, or write to one table together."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import polars as pl

from pipelines.serving.prediction_log import TABLE
from pipelines.tables import Tables
from stacks.outputs import StackOutputs
from tests.pipelines.serving import tiny
from tests.pipelines.serving.process import Server, running

FLUSH_S = 0.5
# A thread that is due may wait this long for a core of a busy machine.
SCHEDULING_S = 0.7


def after(seconds: float) -> Callable[[], bool]:
    """Whether `seconds` have passed since this call."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


@dataclass
class Traffic:
    """Requests that were answered, by id, with the time of the answer; and those that got none."""

    answered: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    async def send(self, server: Server, name: str, callers: int, until: Callable[[], bool]) -> None:
        """`callers` callers ask one server in turn until told to stop or the server is gone."""

        async def caller(who: int) -> None:
            number = 0
            while not until():
                identity = f"{name}-{who}-{number}"
                number += 1
                body = {"requests": [{"id": identity, "features": tiny.EXAMPLE[0]}]}
                try:
                    async with session.post(f"http://127.0.0.1:{server.port}/v1/predict", json=body) as answer:
                        await answer.read()
                        assert answer.status == 200
                except aiohttp.ClientError:
                    self.failed.append(identity)
                    return
                self.answered[identity] = time.monotonic()

        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(caller(who) for who in range(callers)))


def logged(outputs: StackOutputs, *releases: str) -> list[str]:
    scan = Tables(outputs).scan(TABLE)
    assert scan is not None
    return scan.filter(pl.col("release").is_in(releases)).collect()["request_id"].to_list()


def test_three_servers_write_to_one_table_and_lose_nothing(
    outputs: StackOutputs, outputs_file: Path, free_port: Callable[[], int]
) -> None:
    releases = [tiny.publish(outputs, number=number, flush_s=FLUSH_S).id for number in (20, 21, 22)]
    traffic = Traffic()

    async def load(servers: list[Server]) -> None:
        named = zip(("x", "y", "z"), servers, strict=True)
        await asyncio.gather(*(traffic.send(server, name, 2, after(2.5)) for name, server in named))

    with ExitStack() as stack:
        servers = [stack.enter_context(running(release, free_port(), outputs_file)) for release in releases]
        asyncio.run(load(servers))
        commits = [server.metric('spotforge_prediction_log_commits_total{outcome="ok"}') for server in servers]
        assert min(commits) >= 2, "each wrote while the others did"
        assert [server.stop() for server in servers] == [0, 0, 0]
    found = logged(outputs, *releases)
    assert len(found) == len(set(found)), "no row twice"
    assert set(found) == set(traffic.answered), "no row lost"
    assert len(found) > 100


def test_sigterm_under_load_loses_no_answered_request(
    outputs: StackOutputs, outputs_file: Path, free_port: Callable[[], int]
) -> None:
    release = tiny.publish(outputs, number=23, flush_s=FLUSH_S).id
    traffic = Traffic()

    async def load(server: Server) -> float:
        sending = asyncio.create_task(traffic.send(server, "a", 4, lambda: False))
        while len(traffic.answered) < 200:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        server.process.terminate()
        await sending
        assert await asyncio.to_thread(server.process.wait, 5) == 0
        return time.monotonic() - began

    with running(release, free_port(), outputs_file) as server:
        assert asyncio.run(load(server)) < 5
    assert set(traffic.answered) <= set(logged(outputs, release))


def test_a_killed_server_loses_at_most_the_last_flush_interval(
    outputs: StackOutputs, outputs_file: Path, free_port: Callable[[], int]
) -> None:
    release = tiny.publish(outputs, number=24, flush_s=FLUSH_S).id
    traffic, span = Traffic(), 3.0

    async def load(server: Server) -> float:
        sending = asyncio.create_task(traffic.send(server, "a", 2, lambda: False))
        while not traffic.answered or time.monotonic() - min(traffic.answered.values()) < span:
            await asyncio.sleep(0.01)
        assert server.metric('spotforge_prediction_log_commits_total{outcome="ok"}') >= span / (FLUSH_S + SCHEDULING_S)
        server.process.kill()
        killed = time.monotonic()
        await sending
        return killed

    with running(release, free_port(), outputs_file) as server:
        killed = asyncio.run(load(server))
    found = set(logged(outputs, release))
    ages = [killed - at for identity, at in traffic.answered.items() if identity not in found]
    assert ages, "something is lost, else the test did not look closely"
    assert max(ages) <= FLUSH_S + SCHEDULING_S
    assert len(found) > len(traffic.answered) / 3


def test_a_slow_append_does_not_slow_the_answers(
    outputs: StackOutputs, outputs_file: Path, free_port: Callable[[], int]
) -> None:
    release = tiny.publish(outputs, number=25, flush_s=0.05).id  # appends without a pause
    traffic = Traffic()
    with running(release, free_port(), outputs_file) as server:
        patience = time.monotonic() + 20
        while server.metric('spotforge_prediction_log_commits_total{outcome="ok"}') < 5:
            assert time.monotonic() < patience, "it appends all the time"
            asyncio.run(traffic.send(server, str(time.monotonic()), 1, after(0.5)))
        fast = server.metric('spotforge_request_seconds_bucket{arm="live",le="0.025"}')
        assert fast >= 0.95 * len(traffic.answered)
