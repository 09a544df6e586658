"""One look at releases and world, and at most one move: brings the world to what the ledger says. The process is `controller`.

It keeps nothing that it could not read again: kill it anywhere.
"""

# The order of acts is what makes that safe. An advance is recorded first and routed after: no caller meets a step that is not
# on record. A retreat is routed first and recorded after: callers are safe even when the store is away, and a controller that
# died in between finds the same evidence and retreats again before it routes anything.

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.model import Model
from pipelines.objects import Objects
from pipelines.release import gates, reconcile, record
from pipelines.release.canary import Call, Verdict
from pipelines.release.chain import IllegalTransition, Record, State
from pipelines.release.ledger import Ledger
from pipelines.release.platform import Endpoint, Fleet, Gateway, Routes, ServerFailed
from pipelines.release.policy import ReleasePolicy
from pipelines.release.reconcile import Decision, Move, Plan, Seen
from pipelines.release.record import CANARY_STEPS, Release, Stage
from pipelines.release.watch import Source, Watch
from stacks.errors import UserError

WHO = "release-controller"
logger = logging.getLogger(WHO)


@dataclass
class Controller:
    """One `tick` is one look and at most one move; `status` is what it saw last."""

    ledger: Ledger
    gateway: Gateway
    fleet: Fleet
    releases: Objects
    """The bucket with the release records."""
    smoke: Callable[[Release, tuple[Endpoint, ...]], gates.Smoke]
    evidence: Callable[[str, str, datetime], Source]
    """Answers and labels of (champion, candidate) since a moment."""
    model: Model
    folder: Path
    """Where the counts of a canary outlive a crash."""
    policy: ReleasePolicy = field(default_factory=ReleasePolicy)
    status: dict[str, Any] = field(default_factory=dict)
    _state: State | None = None
    _records: list[Record] = field(default_factory=list)
    _endpoints: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    _known: dict[str, Release] = field(default_factory=dict)
    _applied: Plan | None = None
    _smoked: dict[str, Verdict] = field(default_factory=dict)
    _watch: Watch | None = None
    _retreat: Move | None = None
    _problems: list[str] = field(default_factory=list)

    def tick(self) -> bool:
        """Look, decide, act; True when something was moved, so that the next look is due at once.

        Raises UserError when the ledger was never read yet, or the gateway does not take routes. All is tried again.
        """
        self._problems = []
        state = self._read_ledger()
        plan = reconcile.plan(state)
        holding = list(self._problems)
        ready, failed = self._start(plan, holding, {state.production, state.in_flight})
        seen = self._look(state, plan, ready, failed, holding)
        champion, _ = reconcile.champion_of(self._records, state.in_flight or "")
        decision = self._standing_retreat(state) or reconcile.decide(state, seen, self.policy, champion=champion)
        self._tell(state, plan, decision, seen)
        move = decision.move
        if move is None:
            if self._route(plan):
                self._sweep(plan)
            return False
        if move.retreats:
            self._retreat = move
            try:
                self._route(reconcile.without(plan, move.release))
            except UserError as error:
                # A gateway that is away answers nobody; what is on record will be routed when it is back.
                self._problems.append(str(error))
        return self._write(move)

    def _read_ledger(self) -> State:
        """The newest state, or the last known one when the store is away: a canary is guarded all the same."""
        try:
            self._records = self.ledger.records()
            self._state = self.ledger.replay()
        except UserError as error:
            if self._state is None:
                raise
            self._problems.append(str(error))
        return self._state

    def _start(self, plan: Plan, holding: list[str], compared: set[str | None]) -> tuple[frozenset[str], dict[str, str]]:
        """Have the plan's servers running: which are ready, which never will be. One that is compared holds the release."""
        ready, failed = set(), {}
        for name in plan.servers:
            try:
                release = self._release(name)
                endpoints = self.fleet.ensure(release)
            except ServerFailed as error:
                failed[name] = error.what
                self._problems.append(str(error))
                holding += [str(error)] if name in compared else []
            except UserError as error:
                self._problems.append(str(error))
                holding += [str(error)] if name in compared else []
            else:
                if len(endpoints) == release.serving.replicas:
                    ready.add(name)
                    self._endpoints[name] = endpoints
        return frozenset(ready), failed

    def _look(self, state: State, plan: Plan, ready: frozenset[str], failed: dict[str, str], holding: list[str]) -> Seen:
        candidate = state.in_flight
        verdict, problem = None, next(iter(holding), None)
        stage = state.standings[candidate].stage if candidate else None
        if candidate and stage is Stage.STAGING and candidate in ready:
            verdict = self._smoke(candidate)
        elif candidate and stage in {Stage.SHADOW, Stage.CANARY}:
            verdict, unread = self._judge(candidate, state, plan)
            problem = problem or unread
        return Seen(datetime.now(UTC), ready, failed, verdict, problem)

    def _smoke(self, candidate: str) -> Verdict:
        if candidate not in self._smoked:
            seen = self.smoke(self._release(candidate), self._endpoints[candidate])
            numbers = {"rows": seen.rows, "max_difference": seen.max_difference, "median_ms": seen.median_ms}
            call = Call.PROMOTE if seen.passed else Call.ROLLBACK
            said = f"{seen.rows} example rows answered as packaged, {seen.median_ms:.1f} ms in the median"
            self._smoked[candidate] = Verdict(call, "; ".join(seen.problems) or said, numbers)
        return self._smoked[candidate]

    def _judge(self, candidate: str, state: State, plan: Plan) -> tuple[Verdict | None, str | None]:
        """The verdict on what can be read; a part that cannot is a problem, and holds an advance, not a retreat."""
        champion, since = reconcile.champion_of(self._records, candidate)
        if champion is None or since is None:
            return None, "the ledger does not say what it is compared with"
        if self._watch is None or self._watch.candidate != candidate:
            source = self.evidence(champion, candidate, since)
            self._watch = Watch(candidate, champion, source, self.model, self.policy, self.folder)
        watch, unread = self._watch, None
        try:
            watch.read()
        except Exception as error:  # a torn file must not keep the gateway's counts from being judged
            unread = str(error) if isinstance(error, UserError) else f"the evidence cannot be read ({error!r})"
        standing = state.standings[candidate]
        if self._applied == plan:
            try:
                traffic = self.gateway.observe(self._release(champion).serving.slo_ms)
                watch.count(traffic, standing.weight)
            except UserError as error:
                unread = str(error)
        if unread:
            self._problems.append(unread)
        if standing.stage is Stage.SHADOW:
            return watch.shadow(), unread
        step = reconcile.step_of(standing.weight)
        return watch.canary(step, last=step == len(CANARY_STEPS) - 1), unread

    def _standing_retreat(self, state: State) -> Decision | None:
        """A retreat that could not be recorded yet stands, whatever the evidence says by now."""
        move = self._retreat
        if move and (move.release != state.in_flight or state.standings[move.release].stage is not move.from_):
            self._retreat = move = None
        return Decision(move, "") if move else None

    def _route(self, plan: Plan) -> bool:
        """Apply the plan's routes; False while a server that they need was never seen ready: the last routes stay."""
        needed = {*plan.weights, *([plan.mirror] if plan.mirror else [])}
        missing = sorted(needed - self._endpoints.keys())
        if missing:
            self._problems.append(f"the servers of {missing[0]} are not ready; the routes stay as they are")
            return False
        serving = [self._release(name).serving.timeout_ms for name in plan.weights]
        endpoints = {name: self._endpoints[name] for name in needed}
        self.gateway.apply(Routes(plan.weights, plan.mirror, endpoints, max(serving, default=Routes.timeout_ms)))
        self._applied = plan
        return True

    def _sweep(self, plan: Plan) -> None:
        for name in sorted(self.fleet.running() - set(plan.servers)):
            logger.info("%s: its servers are stopped", name)
            self.fleet.remove(name)
            self._endpoints.pop(name, None)

    def _write(self, move: Move) -> bool:
        try:
            self.ledger.append(
                move.release,
                move.to,
                who=WHO,
                why=move.why,
                from_=move.from_,
                weight=move.weight,
                evidence=dict(move.evidence),
            )
        except IllegalTransition as error:
            logger.info("%s", error.what)  # somebody else was first; the next look sees what they did
        share = f" {move.weight} %" if move.weight else ""
        logger.info("%s: %s -> %s%s: %s", move.release, move.from_, move.to, share, move.why)
        return True

    def _release(self, identity: str) -> Release:
        if identity not in self._known:
            self._known[identity] = record.load(self.releases, identity)
        return self._known[identity]

    def _tell(self, state: State, plan: Plan, decision: Decision, seen: Seen) -> None:
        candidate = state.in_flight
        standing = state.standings[candidate] if candidate else None
        self.status = {
            "production": state.production,
            "previous": state.previous,
            "release": candidate,
            "stage": standing.stage if standing else None,
            "weight": standing.weight if standing else None,
            "weights": dict(plan.weights),
            "mirror": plan.mirror,
            "reason": decision.move.why if decision.move else decision.reason,
            "next": decision.move.to if decision.move else None,
            "verdict": dict(seen.verdict.numbers) if seen.verdict else None,
            "ready": sorted(seen.ready),
            "waiting": list(state.waiting),
            "problems": self._problems,
        }
