"""One candidate under watch: gathers what the gateway, the prediction log and the labels say, and asks for the verdict.

What is counted at the gateway outlives a crash in a file of the state folder; paired losses are read anew from their tables.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.model import Model
from pipelines.release import canary, shadow
from pipelines.release.canary import Counts, Metric, Verdict
from pipelines.release.pairs import Pairs
from pipelines.release.platform import Arm, Traffic
from pipelines.release.policy import ReleasePolicy

if TYPE_CHECKING:
    import polars as pl


@dataclass
class Tally:
    """What was counted at the gateway in the canary so far. `weight` and the arms are those of the last look."""

    errors: Metric = field(default_factory=Metric)
    slow: Metric = field(default_factory=Metric)
    weight: int | None = None
    live: int = 0
    """Callers' requests that the candidate answered under this weight."""
    champion: Arm = field(default_factory=Arm)
    candidate: Arm = field(default_factory=Arm)

    def count(self, champion: Arm, candidate: Arm, weight: int) -> None:
        """Take in cumulative counts: each look is a unit in which both arms were live under the same weights."""
        steady = weight == self.weight
        if not steady:
            self.weight, self.live = weight, 0
        if not steady or _went_back(self.champion, champion) or _went_back(self.candidate, candidate):
            # Counts from under other weights, or from before the gateway was restarted, belong to no unit.
            self.champion, self.candidate = champion, candidate
            return
        self._errors(champion, candidate)
        self._slow(champion, candidate)

    def _errors(self, champion: Arm, candidate: Arm) -> None:
        mine = Counts(candidate.errors - self.candidate.errors, candidate.requests - self.candidate.requests)
        theirs = Counts(champion.errors - self.champion.errors, champion.requests - self.champion.requests)
        if mine.requests and theirs.requests:
            self.errors = self.errors.see(canary.contest(mine, theirs))
            self.live += mine.requests
            self.candidate = replace(self.candidate, requests=candidate.requests, errors=candidate.errors)
            self.champion = replace(self.champion, requests=champion.requests, errors=champion.errors)

    def _slow(self, champion: Arm, candidate: Arm) -> None:
        mine = Counts(candidate.over_slo - self.candidate.over_slo, candidate.timed - self.candidate.timed)
        theirs = Counts(champion.over_slo - self.champion.over_slo, champion.timed - self.champion.timed)
        if mine.requests and theirs.requests:
            self.slow = self.slow.see(canary.contest(mine, theirs))
            self.candidate = replace(self.candidate, timed=candidate.timed, over_slo=candidate.over_slo)
            self.champion = replace(self.champion, timed=champion.timed, over_slo=champion.over_slo)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "Tally":
        errors, slow = (canary.from_json(given[name]) for name in ("errors", "slow"))
        champion, candidate = (Arm(**given[name]) for name in ("champion", "candidate"))
        return cls(errors, slow, given["weight"], given["live"], champion, candidate)


class Source(Protocol):
    """Where answers and labels are read as they come; `evidence.Evidence` is the real one."""

    def predictions(self) -> "tuple[pl.DataFrame | None, pl.DataFrame | None]": ...

    def labels(self) -> "pl.DataFrame | None": ...


class Watch:
    """`candidate` against `champion` since its shadow began."""

    def __init__(
        self, candidate: str, champion: str, source: Source, model: Model, policy: ReleasePolicy, folder: Path
    ) -> None:
        self.candidate, self.champion = candidate, champion
        self._policy, self._margin = policy, model.guardrails.canary_margin
        self._source = source
        self._pairs = Pairs(model.loss, policy.block_pairs, timedelta(hours=policy.label_lag_h))
        self._loss = Metric()
        self._file = folder / f"{candidate}.json"
        self._tally = self._load()
        self._copies = Arm()

    def read(self) -> None:
        """Take in what the log and the labels have got since the last look. Raises UserError when they cannot be read."""
        live, shadow_rows = self._source.predictions()
        blocks = self._pairs.add(live, shadow_rows, None)
        for block in (*blocks, *self._pairs.add(None, None, self._source.labels())):
            self._loss = self._loss.see(block.difference, low=block.low, high=block.high, margin=self._margin)

    def count(self, traffic: Traffic, weight: int | None) -> None:
        """Take in the gateway's counts; `weight` is what has been in force since the last look, None in shadow."""
        self._copies = traffic.mirrored.get(self.candidate, Arm())
        if weight is None:
            return
        self._tally.count(traffic.live.get(self.champion, Arm()), traffic.live.get(self.candidate, Arm()), weight)
        self._save()

    def shadow(self) -> Verdict:
        pairs = self._pairs
        seen = shadow.Seen(
            self._copies.requests, self._copies.errors, pairs.answered, pairs.mean_difference, pairs.max_difference
        )
        return shadow.verdict(seen, self._policy)

    def canary(self, step: int, *, last: bool) -> Verdict:
        tally = self._tally
        evidence = canary.Evidence(tally.errors, tally.slow, self._loss, self._pairs.judged, tally.live)
        return canary.verdict(evidence, step=step, last=last, margin=self._margin, policy=self._policy)

    def _load(self) -> Tally:
        try:
            return Tally.from_json(json.loads(self._file.read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return Tally()

    def _save(self) -> None:
        self._file.parent.mkdir(exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(self._tally.to_json()))
        fresh.replace(self._file)


def _went_back(before: Arm, now: Arm) -> bool:
    return now.requests < before.requests or now.timed < before.timed
