"""A world in memory for the controller's pure loop: store, gateway, fleet, callers and labels, with a kill at any call."""

import hashlib
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.model import Guardrails, Model
from pipelines.release import gates, record
from pipelines.release.chain import Record
from pipelines.release.control import Controller
from pipelines.release.ledger import Ledger
from pipelines.release.platform import Arm, Endpoint, Routes, ServerFailed, Traffic
from pipelines.release.policy import ReleasePolicy
from pipelines.release.record import Release, Stage
from stacks.errors import UserError
from tests.pipelines.release.memory import Memory

POLICY = ReleasePolicy(
    shadow_answers=60, shadow_pairs=60, canary_requests=(30, 60, 120), canary_blocks=(3, 6, 9), block_pairs=20
)
A_TICK = 200
"""Requests that callers send between two looks: five event hours."""
START = datetime(2013, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The controller's process ended here."""


@dataclass
class Behaviour:
    """How a release answers: its loss over the truth, its failures, whether its server starts at all."""

    shift: float = 0.0
    failing: float = 0.0
    starts: bool = True
    smoke_fails: bool = False


@dataclass
class Tiny:
    """The model's interface as far as a canary needs it."""

    guardrails: Guardrails = field(
        default_factory=lambda: Guardrails(
            min_gain_over_baseline=0,
            max_loss_over_champion=0,
            max_slice_loss_over_champion=0,
            min_slice_rows=1,
            canary_margin=0.02,
        )
    )

    def loss(self, label: Any, prediction: Any) -> Any:
        return (prediction - label) ** 2


@dataclass
class World:
    """Everything outside the controller. `kill_at` counts the controller's calls to it, and ends it before or after one."""

    folder: Path
    behaviour: Mapping[str, Behaviour]
    seed: int = 7
    store: Memory = field(default_factory=Memory)
    routes: Routes = field(default_factory=Routes)
    servers: set[str] = field(default_factory=set)
    gateway_away: bool = False
    kill_at: int | None = None
    calls: int = 0
    moments: dict[Any, int] = field(default_factory=dict)
    """First call at each place (line, records in the store, routes): the same look repeated is the same moment to die in."""
    lost: list[str] = field(default_factory=list)
    broken_rules: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    _live: Counter[str] = field(default_factory=Counter)
    _errors: Counter[str] = field(default_factory=Counter)
    _copies: Counter[str] = field(default_factory=Counter)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _labels: list[dict[str, Any]] = field(default_factory=list)
    _sent: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    # what the controller calls

    def _maybe_die(self) -> None:
        """Notes where the controller stands in its work; the end, if this is the call to die in."""
        self.calls += 1
        frame = inspect.currentframe()
        caller = frame.f_back if frame else None
        line = caller.f_lineno if caller else 0
        self.moments.setdefault((line, len(self.store.content), tuple(self.routes.weights.items())), self.calls)
        if self.kill_at is not None and self.calls == self.kill_at:
            raise Killed

    def controller(self, policy: ReleasePolicy = POLICY) -> Controller:
        """A new process: it knows nothing but what it reads."""
        return Controller(
            ledger=_Dying(self.store, self),
            gateway=self,
            fleet=self,
            releases=self.store,
            smoke=self.smoke,
            evidence=lambda champion, candidate, _since: _Log(self, champion, candidate),
            model=as_model(Tiny()),
            folder=self.folder,
            policy=policy,
        )

    def apply(self, routes: Routes) -> None:
        self._maybe_die()
        if self.gateway_away:
            raise UserError("the gateway does not answer", "Wait.")
        state = Ledger(self.store).replay() if not self.store.away else None
        for name, weight in routes.weights.items():
            standing = state.standings[name] if state else None
            lawful = standing is None or (
                standing.stage is Stage.PRODUCTION or (standing.stage is Stage.CANARY and standing.weight == weight)
            )
            if not lawful:
                self.broken_rules.append(f"{name} was routed {weight} % while {standing}")
            if name not in self.servers:
                self.broken_rules.append(f"{name} was routed to without a server")
        self.routes = routes
        self._maybe_die()

    def observe(self, slo_ms: int) -> Traffic:
        self._maybe_die()
        if self.gateway_away:
            raise UserError("the gateway does not answer", "Wait.")
        live = {name: Arm(count, self._errors[name], count, 0) for name, count in self._live.items()}
        return Traffic(live, {name: Arm(count, 0, count, 0) for name, count in self._copies.items()})

    def ensure(self, release: Release) -> tuple[Endpoint, ...]:
        self._maybe_die()
        if not self.behaviour[release.id].starts:
            raise ServerFailed(f"the server of {release.id} does not start: no such model", "See its log.")
        self.servers.add(release.id)
        self._maybe_die()
        return (Endpoint("127.0.0.1", 1000 + release.number),)

    def remove(self, release: str) -> None:
        self._maybe_die()
        if release in self.routes.weights:
            self.broken_rules.append(f"{release} was stopped while callers are routed to it")
        self.servers.discard(release)
        self._maybe_die()

    def running(self) -> frozenset[str]:
        return frozenset(self.servers)

    def smoke(self, release: Release, _endpoints: tuple[Endpoint, ...]) -> gates.Smoke:
        self._maybe_die()
        problems = ("answers differ from the package's",) if self.behaviour[release.id].smoke_fails else ()
        return gates.Smoke(3, 0.0, 1.0, problems)

    # the world itself

    def candidate(self, identity: str) -> None:
        """As `assemble` does it."""
        content: dict[str, Any] = {
            "created_at": START,
            "created_by": "test",
            "reason": "test",
            "code": {"git_sha": "-", "image": "-"},
            "model": {"name": "m", "version": "1", "digest": "d", "package": "p", "run_id": "r"},
            "data": {"training_set": "t", "tables": {}, "partitions": [], "feature_view": "v"},
            "infra": "i",
            "evidence": {},
        }
        record.save(self.store, Release(id=identity, **content))
        Ledger(self.store).append(identity, Stage.CANDIDATE, from_=None, who="test", why="test")

    def traffic(self, number: int = A_TICK) -> None:
        """Callers ask, in event order; the outcomes of three hours ago become known."""
        names = [name for name, weight in self.routes.weights.items() for _ in range(weight)]
        for _ in range(number):
            moment = START + timedelta(minutes=1.5 * self._sent)
            request, self._sent = f"q{self._sent}", self._sent + 1
            truth = self._rng.random()
            label = float(self._rng.random() < truth)
            self._labels.append({"request_id": request, "label": label, "known_at": moment + timedelta(hours=3)})
            if not names:
                continue
            name = names[int(self._rng.integers(len(names)))]
            self.answered[name] += 1
            self._answer(name, request, moment, truth, "live")
            mirror = self.routes.mirror
            if mirror and mirror != name:
                self._answer(mirror, request, moment, truth, "shadow")

    def _answer(self, name: str, request: str, moment: datetime, truth: float, arm: str) -> None:
        how = self.behaviour[name]
        counts = self._live if arm == "live" else self._copies
        counts[name] += 1
        if name not in self.servers:
            if arm == "live":
                self.lost.append(request)
            return
        if self._rng.random() < how.failing:
            self._errors[name] += arm == "live"
            return
        wobble = int(hashlib.sha256(f"{name}{request}".encode()).hexdigest()[:4], 16) / 65535 - 0.5
        prediction = float(np.clip(truth + how.shift * (1 if wobble > 0 else -1) + 0.05 * wobble, 0, 1))
        self._rows.append(
            {"request_id": request, "event_time": moment, "prediction": prediction, "release": name, "arm": arm}
        )  # fmt: skip

    def rows(self, since: int) -> pl.DataFrame:
        return pl.DataFrame(self._rows[since:], schema_overrides={"event_time": pl.Datetime("us", "UTC")})

    def known(self, since: int) -> pl.DataFrame:
        # One request each minute and a half, known three hours later.
        known = self._labels[since : max(since, self._sent - 120)]
        return pl.DataFrame(known, schema_overrides={"known_at": pl.Datetime("us", "UTC")})


@dataclass
class _Log:
    """As `evidence.Evidence`, in memory."""

    world: World
    champion: str
    candidate: str
    _rows: int = 0
    _labels: int = 0

    def predictions(self) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
        rows = self.world.rows(self._rows)
        if rows.is_empty():
            return None, None
        self._rows += rows.height
        live = rows.filter(pl.col("release") == self.champion, pl.col("arm") == "live")
        shadow = rows.filter(pl.col("release") == self.candidate, pl.col("arm") == "shadow")
        return live.select("request_id", "event_time", "prediction"), shadow.select("request_id", "prediction")

    def labels(self) -> pl.DataFrame | None:
        found = self.world.known(self._labels)
        self._labels += found.height
        return None if found.is_empty() else found


class _Dying(Ledger):
    """A ledger whose appends may be the controller's last act."""

    def __init__(self, store: Memory, world: World) -> None:
        super().__init__(store)
        self._world = world

    def append(self, *arguments: Any, **named: Any) -> Record:
        self._world._maybe_die()
        done = super().append(*arguments, **named)
        self._world._maybe_die()
        return done


def as_model(tiny: Any) -> Model:
    """The loop asks a model for its loss and its margin only."""
    model: Model = tiny
    return model


def drive(world: World, until: Callable[[], bool], *, ticks: int = 400, policy: ReleasePolicy = POLICY) -> Controller:
    """Tick, with callers in between; a killed controller is started anew. Fails when `until` never holds."""
    controller = world.controller(policy)
    for _ in range(ticks):
        try:
            moved = controller.tick()
        except Killed:
            controller = world.controller(policy)
            continue
        except UserError:
            moved = False
        if until():
            return controller
        if not moved:
            world.traffic()
    raise AssertionError(f"it never came to that: {controller.status}")
