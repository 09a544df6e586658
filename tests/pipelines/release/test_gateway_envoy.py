"""A real Envoy under load: weights hold, switches lose nothing, a mirror can do callers no harm."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from pipelines.release.gateway_envoy import EnvoyGateway
from pipelines.release.platform import Arm, Routes
from stacks.errors import UserError
from stacks.outputs import StackOutputs
from tests.pipelines.release.callers import ask
from tests.pipelines.release.servers import Servers, TinyServer, serving

P, C = "r0001-aaaaaaaa", "r0002-bbbbbbbb"
SLO_MS = 100


@pytest.fixture
def servers() -> Iterator[Servers]:
    with serving() as found:
        yield found


@pytest.fixture
def gateway(running: StackOutputs) -> Iterator[EnvoyGateway]:
    found = EnvoyGateway(running)
    found.apply(Routes())
    yield found
    found.apply(Routes())


def routes(servers: list[TinyServer], weights: dict[str, int], mirror: str | None = None, timeout_ms: int = 2000) -> Routes:
    return Routes(weights, mirror, {server.release: (server.endpoint,) for server in servers}, timeout_ms)


@dataclass
class Load:
    """What callers got: answers a release, failures, and each answer's seconds."""

    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    async def one(self, session: aiohttp.ClientSession, url: str) -> None:
        began = time.perf_counter()
        await ask(session, url, [], self.answers, self.failed)
        self.seconds.append(time.perf_counter() - began)


def under_load(url: str, work: Callable[[], None], *, callers: int = 8) -> Load:
    """Keep `callers` busy while `work` runs in a thread."""
    load = Load()

    async def run() -> None:
        done = asyncio.Event()

        async def call(session: aiohttp.ClientSession) -> None:
            while not done.is_set():
                await load.one(session, url)

        async with aiohttp.ClientSession() as session:
            tasks = [asyncio.create_task(call(session)) for _ in range(callers)]
            await asyncio.to_thread(work)
            done.set()
            await asyncio.gather(*tasks)

    asyncio.run(run())
    return load


def send(url: str, number: int) -> Load:
    load = Load()

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(number // 20):
                await asyncio.gather(*(load.one(session, url) for _ in range(20)))

    asyncio.run(run())
    return load


def eventually(condition: Callable[[], bool], why: str, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def test_callers_are_split_by_weight_and_only_the_champions_are_copied(
    gateway: EnvoyGateway, servers: Servers, running: StackOutputs
) -> None:
    champion, candidate = servers.start(P), servers.start(C)
    gateway.apply(routes([champion, candidate], {P: 75, C: 25}, mirror=C))
    load = send(running.gateway.url, 1600)
    assert load.failed == []
    # Binomial: 400 ± 5 standard deviations of 17.
    assert 315 < load.answers[C] < 485, "a quarter of the callers is the candidate's"
    eventually(lambda: candidate.seen["shadow"] == load.answers[P], "each of the champion's requests is copied, once")
    assert candidate.seen["live"] == load.answers[C], "what the candidate answers itself is not copied to it"
    traffic = gateway.observe(SLO_MS)
    assert traffic.live[P].requests == load.answers[P]
    assert traffic.live[C].requests == load.answers[C], "copies are counted apart"
    assert traffic.mirrored[C].requests == load.answers[P]
    assert sum(arm.errors for arm in traffic.live.values()) == 0


def test_no_request_is_lost_through_a_whole_release_and_its_rollback(
    gateway: EnvoyGateway, servers: Servers, running: StackOutputs
) -> None:
    champion, candidate = servers.start(P, delay_s=0.01), servers.start(C, delay_s=0.01)
    both = [champion, candidate]
    gateway.apply(routes([champion], {P: 100}))

    def release() -> None:
        for _ in range(3):
            for weights, mirror in (
                ({P: 100}, C), ({P: 95, C: 5}, C), ({P: 75, C: 25}, C), ({P: 50, C: 50}, C), ({C: 100}, None), ({P: 100}, None),
            ):  # fmt: skip
                gateway.apply(routes(both, weights, mirror))
                settled = sum(champion.seen.values()) + sum(candidate.seen.values()) + 30
                eventually(lambda: sum(champion.seen.values()) + sum(candidate.seen.values()) > settled, "traffic flows")  # noqa: B023

    load = under_load(running.gateway.url, release)
    assert load.failed == []
    assert load.answers[P] > 100
    assert load.answers[C] > 100


def test_after_apply_every_new_request_follows_the_new_routes(
    gateway: EnvoyGateway, servers: Servers, running: StackOutputs
) -> None:
    champion, candidate = servers.start(P), servers.start(C)
    for turn in range(6):
        name = (P, C)[turn % 2]
        began = time.monotonic()
        gateway.apply(routes([champion, candidate], {name: 100}))
        assert time.monotonic() - began < 1.0, "a switch takes less than a second"
        assert set(send(running.gateway.url, 20).answers) == {name}


@pytest.mark.parametrize("fault", ["stall", "error", "dead"])
def test_a_broken_mirror_changes_nothing_for_callers(
    fault: str, gateway: EnvoyGateway, servers: Servers, running: StackOutputs
) -> None:
    champion, candidate = servers.start(P), servers.start(C, mode="ok" if fault == "dead" else fault)
    if fault == "dead":
        servers.stop(candidate)
    gateway.apply(routes([champion, candidate], {P: 100}, mirror=C, timeout_ms=1500))
    load = send(running.gateway.url, 600)
    assert load.failed == []
    assert load.answers == {P: 600}
    # A caller that waited for the mirror would have waited 1.5 s; on a busy machine half a second is nobody's fault.
    assert sorted(load.seconds)[-6] < 1.2
    eventually(lambda: gateway.observe(SLO_MS).mirrored[C].errors > 100, "the mirror's failures are counted as its own")
    assert gateway.observe(SLO_MS).live[P] == Arm(600, 0, *_times(gateway, P))


def _times(gateway: EnvoyGateway, release: str) -> tuple[int, int]:
    arm = gateway.observe(SLO_MS).live[release]
    return arm.timed, arm.over_slo


def test_errors_and_slow_answers_are_counted_for_the_release_that_gave_them(
    gateway: EnvoyGateway, servers: Servers, running: StackOutputs
) -> None:
    champion, candidate = servers.start(P, delay_s=0.15), servers.start(C, mode="error")
    gateway.apply(routes([champion, candidate], {P: 50, C: 50}))
    load = send(running.gateway.url, 200)
    traffic = gateway.observe(SLO_MS)
    assert traffic.live[C].errors == traffic.live[C].requests == len(load.failed)
    assert traffic.live[P].errors == 0
    # Envoy publishes times up to five seconds later.
    eventually(lambda: gateway.observe(SLO_MS).live[P].timed == load.answers[P], "each answer's time is known")
    assert gateway.observe(SLO_MS).live[P].over_slo == load.answers[P]
    assert gateway.observe(1000).live[P].over_slo == 0


def test_a_server_that_is_killed_and_comes_back_is_bridged_by_retries(
    gateway: EnvoyGateway, servers: Servers, running: StackOutputs
) -> None:
    champion = servers.start(P)
    gateway.apply(routes([champion], {P: 100}))

    def bounce() -> None:
        eventually(lambda: champion.seen["live"] > 50, "traffic flows")
        servers.stop(champion)
        time.sleep(0.1)  # the outage itself, shorter than the retries' pauses together
        asyncio.run_coroutine_threadsafe(champion.start(), servers.loop).result(5)
        seen = champion.seen["live"]
        eventually(lambda: champion.seen["live"] > seen + 50, "traffic flows again")

    load = under_load(running.gateway.url, bounce)
    assert load.failed == []
    assert gateway.observe(SLO_MS).live[P].errors > 0, "a repeated try is counted against the release all the same"


def test_a_gateway_that_is_away_is_an_error_and_never_zeros(running: StackOutputs) -> None:
    away = running.model_copy(update={"gateway": running.gateway.model_copy(update={"admin_url": "http://127.0.0.1:9"})})
    with pytest.raises(UserError, match="does not answer"):
        EnvoyGateway(away).observe(SLO_MS)
