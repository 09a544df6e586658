"""What should be, and what to do next: ledger state and observations in, a plan and at most one move out. Pure.

Reading the world and acting on it is `controller`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pipelines.release.canary import Call, Verdict
from pipelines.release.chain import Record, State
from pipelines.release.policy import ReleasePolicy
from pipelines.release.record import CANARY_STEPS, Stage


@dataclass(frozen=True)
class Plan:
    """The world that a ledger state asks for. A release that is not among `servers` is to be removed."""

    servers: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    mirror: str | None = None


@dataclass(frozen=True)
class Seen:
    """What one tick knows beyond the ledger. `failed` says why a release's servers never will be ready."""

    now: datetime
    ready: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None
    """Of the stage that the release in flight is in: smoke, shadow or canary; None when there is none yet."""
    problem: str | None = None
    """Which part of the evidence could not be read, and why."""


@dataclass(frozen=True)
class Move:
    """One record to write."""

    release: str
    from_: Stage
    to: Stage
    why: str
    weight: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def retreats(self) -> bool:
        """A retreat changes the routes before the record, an advance after it. See `controller`."""
        return self.to in {Stage.REJECTED, Stage.ROLLED_BACK}


@dataclass(frozen=True)
class Decision:
    """A move, or the reason to hold."""

    move: Move | None
    reason: str


def plan(state: State) -> Plan:
    """Who runs, who is routed to, who gets copies: production, its rollback target kept warm, and the release in flight."""
    serving, candidate = state.production, state.in_flight
    standing = state.standings[candidate] if candidate else None
    servers = [name for name in (serving, state.previous) if name]
    weights = {serving: 100} if serving else {}
    if candidate is None or standing is None or standing.stage is Stage.CANDIDATE:
        return Plan(tuple(servers), weights)
    servers.append(candidate)
    if serving is None or standing.stage is Stage.STAGING:
        return Plan(tuple(servers), weights)
    if standing.stage is Stage.CANARY:
        share = standing.weight or CANARY_STEPS[0]
        weights = {serving: 100 - share, candidate: share}
    return Plan(tuple(servers), weights, mirror=candidate)


def without(current: Plan, release: str) -> Plan:
    """The plan as it is once `release` is taken out: its callers go to the others. Its servers stay until that is on record."""
    weights = {name: weight for name, weight in current.weights.items() if name != release}
    left = 100 - sum(weights.values())
    champion = max(weights, key=lambda name: weights[name], default=None)
    if champion:
        weights[champion] += left
    return Plan(current.servers, weights, None if current.mirror == release else current.mirror)


def champion_of(records: Iterable[Record], candidate: str) -> tuple[str | None, datetime | None]:
    """What the candidate is compared with, and since when: fixed by the record that began its shadow."""
    for record in records:
        if record.release == candidate and record.to is Stage.SHADOW:
            return record.evidence.get("champion"), record.when
    return None, None


def decide(state: State, seen: Seen, policy: ReleasePolicy, *, champion: str | None) -> Decision:
    """The next move of the release in flight, which is compared with `champion`."""
    candidate = state.in_flight
    if candidate is None:
        return Decision(None, "nothing in flight")
    standing = state.standings[candidate]
    stage = standing.stage
    if stage is Stage.CANDIDATE:
        return Decision(Move(candidate, stage, Stage.STAGING, "its turn has come"), "")
    if candidate in seen.failed:
        return _out(candidate, stage, seen.failed[candidate], seen)
    if stage is Stage.STAGING:
        return _staging(state, candidate, standing.since, seen, policy)
    if champion != state.production:
        return _out(candidate, stage, f"it was compared with {champion}, and {state.production} serves now", seen)
    return _compared(candidate, stage, standing.weight, seen)


def _compared(candidate: str, stage: Stage, weight: int | None, seen: Seen) -> Decision:
    if seen.verdict is not None and seen.verdict.call is Call.ROLLBACK:
        return _out(candidate, stage, seen.verdict.reason, seen)
    if seen.verdict is None or seen.problem:
        # With part of the evidence out of sight nobody advances.
        return Decision(None, seen.problem or "no evidence could be read")
    if seen.verdict.call is Call.HOLD:
        return Decision(None, seen.verdict.reason)
    return Decision(_advance(candidate, stage, weight, seen.verdict), "")


def step_of(weight: int | None) -> int:
    """Number of the canary step with this weight."""
    return CANARY_STEPS.index(weight) if weight in CANARY_STEPS else 0


def _staging(state: State, candidate: str, since: datetime, seen: Seen, policy: ReleasePolicy) -> Decision:
    stage = Stage.STAGING
    if candidate not in seen.ready or seen.verdict is None:
        waited = (seen.now - since) / timedelta(seconds=1)
        why = seen.problem or "its servers are starting"
        if waited > policy.staging_s:
            return _out(candidate, stage, f"not ready within {policy.staging_s:.0f} s: {why}", seen)
        return Decision(None, why)
    evidence = dict(seen.verdict.numbers)
    if seen.verdict.call is Call.ROLLBACK:
        return _out(candidate, stage, seen.verdict.reason, seen)
    if state.production is None:
        why = f"{seen.verdict.reason}; the first release: nobody to compare with, so no shadow and no canary"
        return Decision(Move(candidate, stage, Stage.PRODUCTION, why, evidence=evidence), "")
    evidence["champion"] = state.production
    return Decision(Move(candidate, stage, Stage.SHADOW, seen.verdict.reason, evidence=evidence), "")


def _advance(candidate: str, stage: Stage, weight: int | None, verdict: Verdict) -> Move:
    step = 0 if stage is Stage.SHADOW else step_of(weight) + 1
    if step == len(CANARY_STEPS):
        return Move(candidate, stage, Stage.PRODUCTION, verdict.reason, evidence=verdict.numbers)
    return Move(candidate, stage, Stage.CANARY, verdict.reason, CANARY_STEPS[step], verdict.numbers)


def _out(candidate: str, stage: Stage, why: str, seen: Seen) -> Decision:
    to = Stage.ROLLED_BACK if stage is Stage.CANARY else Stage.REJECTED
    evidence = dict(seen.verdict.numbers) if seen.verdict else {}
    return Decision(Move(candidate, stage, to, why, evidence=evidence), "")
