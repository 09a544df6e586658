"""What the ledger's records mean: the legal path of a release, and state by replay. Pure.

How records are stored, chained and signed is `ledger`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.release.record import TERMINAL, Stage
from stacks.errors import UserError

LEGAL: Mapping[Stage | None, frozenset[Stage]] = {
    None: frozenset({Stage.CANDIDATE}),
    Stage.CANDIDATE: frozenset({Stage.STAGING, Stage.REJECTED}),
    # The first release of all has nobody to be compared with, so it goes from staging straight to production.
    Stage.STAGING: frozenset({Stage.SHADOW, Stage.PRODUCTION, Stage.REJECTED}),
    Stage.SHADOW: frozenset({Stage.CANARY, Stage.REJECTED}),
    Stage.CANARY: frozenset({Stage.CANARY, Stage.PRODUCTION, Stage.ROLLED_BACK}),
    Stage.PRODUCTION: frozenset({Stage.ROLLED_BACK}),
    Stage.RETIRED: frozenset(),
    Stage.REJECTED: frozenset(),
    Stage.ROLLED_BACK: frozenset(),
}
"""Where a record may take a release. A release is retired by its successor's record, and comes back as the `restores` of a
rollback's: each change of what serves is one record, so that no crash can leave half of it."""


class IllegalTransition(UserError):
    """The record does not follow from those before it: somebody else moved the release first, or it never could."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "See `spotforge release list`.")


class Record(BaseModel):
    """One move of one release. `prev` is the SHA-256 (hex) of the bytes of the record before."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    seq: int
    prev: str
    when: datetime
    who: str
    why: str
    release: str
    from_: Stage | None = Field(alias="from")
    to: Stage
    weight: int | None = None
    """Percent of callers, in a canary."""
    restores: str | None = None
    """The release that serves again, when this one is rolled back from production."""
    evidence: dict[str, Any] = {}


@dataclass(frozen=True)
class Standing:
    """Where one release stands, since which record."""

    stage: Stage
    since: datetime
    seq: int
    weight: int | None = None


@dataclass(frozen=True)
class State:
    """All releases after some records. `served` is the stack of releases that took all traffic, the present one last."""

    standings: Mapping[str, Standing] = field(default_factory=dict)
    served: tuple[str, ...] = ()
    ever_served: frozenset[str] = frozenset()

    @property
    def production(self) -> str | None:
        return self.served[-1] if self.served else None

    @property
    def previous(self) -> str | None:
        """What a rollback of production would put back."""
        return self.served[-2] if len(self.served) > 1 else None

    @property
    def in_flight(self) -> str | None:
        """The one release on its way: the furthest of those neither in production nor at an end, the oldest first."""
        started = [name for name in self._moving if self.standings[name].stage is not Stage.CANDIDATE]
        return next(iter(started or self._moving), None)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Candidates whose turn comes after the one in flight, oldest first."""
        first = self.in_flight
        return tuple(name for name in self._moving if name != first)

    @property
    def _moving(self) -> list[str]:
        ended = TERMINAL | {Stage.PRODUCTION}
        return [name for name, standing in self.standings.items() if standing.stage not in ended]

    def after(self, record: Record) -> "State":
        """The state with one more record. Raises IllegalTransition."""
        standing = self.standings.get(record.release)
        stage = standing.stage if standing else None
        self._check(record, stage)
        standings = dict(self.standings)
        served = self.served
        if record.to is Stage.PRODUCTION:
            if self.production:
                standings[self.production] = _moved(Stage.RETIRED, record)
            served = (*served, record.release)
        elif record.to is Stage.ROLLED_BACK and stage is Stage.PRODUCTION:
            served = served[:-1]
            if record.restores:
                below = served[: served.index(record.restores)] if record.restores in served else served
                served = (*below, record.restores)
                standings[record.restores] = _moved(Stage.PRODUCTION, record)
        standings[record.release] = replace(_moved(record.to, record), weight=record.weight)
        return State(standings, served, self.ever_served | set(served[-1:]))

    def _check(self, record: Record, stage: Stage | None) -> None:
        if stage != record.from_:
            raise IllegalTransition(f"{record.release} is {stage or 'unknown'}, not {record.from_ or 'new'}")
        if record.to not in LEGAL[stage]:
            raise IllegalTransition(f"{record.release} cannot go from {stage or 'nothing'} to {record.to}")
        if stage is Stage.STAGING and record.to is Stage.PRODUCTION and self.production:
            raise IllegalTransition(f"{record.release} cannot skip shadow and canary: {self.production} serves")
        if stage is not Stage.PRODUCTION:
            if record.restores:
                raise IllegalTransition("only a rollback from production restores another release")
            return
        if record.restores is None:
            raise IllegalTransition(f"{record.release} is the only release that ever served: there is nothing to put back")
        if record.restores not in self.ever_served or record.restores == record.release:
            raise IllegalTransition(f"{record.restores} cannot be put back: it serves now, or never did")


def _moved(stage: Stage, record: Record) -> Standing:
    return Standing(stage, record.when, record.seq)


def replay(records: Iterable[Record]) -> State:
    """The state after these records, oldest first. Raises IllegalTransition."""
    state = State()
    for record in records:
        state = state.after(record)
    return state


def state_of(records: Iterable[Record], release: str) -> Stage | None:
    """The stage of one release, or None when the ledger does not know it."""
    standing = replay(records).standings.get(release)
    return standing.stage if standing else None


def production(records: Iterable[Record]) -> str | None:
    return replay(records).production


def previous_production(records: Iterable[Record]) -> str | None:
    return replay(records).previous


def serving_at(records: Iterable[Record], moment: datetime) -> dict[str, int]:
    """What the ledger had serving at `moment`: percent of callers a release; empty before the first release."""
    state = replay(record for record in records if record.when <= moment)
    if state.production is None:
        return {}
    canary = {name: item.weight or 0 for name, item in state.standings.items() if item.stage is Stage.CANARY}
    return {state.production: 100 - sum(canary.values())} | canary
