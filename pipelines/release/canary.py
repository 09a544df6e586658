"""The sequential test that guards production: is the candidate worse, safe, or not yet known? Pure; valid at every look.

Betting: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86 (2024), section 4.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pipelines.release.policy import ReleasePolicy

# A mixture over bets needs no guess of the effect; these span means from 0.01 to 0.5 (the best bet is about mean/variance).
BETS = (0.25, 1.0, 4.0, 12.0)
# No bet risks more than this share of its wealth on one unit (WSR: 1/2 to 3/4 for small samples; ours come by hundreds).
CAUTION = 0.8
# Errors, slowness and loss share alpha equally (Bonferroni).
METRICS = 3
# Nobody advances while the odds of harm stand at this or more: a broken candidate that has met few callers yet waits for its
# verdict where it is, instead of meeting more. Where there is no harm the wealth falls, so this costs a healthy one little.
DOUBT = math.log(2)


@dataclass(frozen=True)
class Wealth:
    """A gambler's wealth against "the payoff's mean is at most zero": it multiplies by w with probability at most 1/w, ever
    (Ville), so its peak is evidence that may be looked at as often as one likes. Logarithms, one a bet."""

    logs: tuple[float, ...] = (0.0,) * len(BETS)
    peak: float = 0.0

    def bet(self, payoff: float, worst: float) -> "Wealth":
        """After one unit. `worst` > 0 bounds the loss (payoff >= -worst), and must have been known before the payoff was."""
        logs = tuple(
            log + math.log1p(min(bet, CAUTION / worst if worst > 0 else bet) * max(payoff, -worst))
            for log, bet in zip(self.logs, BETS, strict=True)
        )
        return Wealth(logs, max(self.peak, _mixture(logs)))

    @property
    def now(self) -> float:
        """Logarithm of the present wealth: falls again when what looked like harm does not last."""
        return _mixture(self.logs)


def _mixture(logs: tuple[float, ...]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs) / len(logs))


@dataclass(frozen=True)
class Metric:
    """One stream of differences candidate - champion, a unit each: positive is worse."""

    units: int = 0
    total: float = 0.0
    harm: Wealth = Wealth()
    """Against "it is no worse"."""
    safe: Wealth = Wealth()
    """Against "it is worse by the margin or more"."""

    def see(self, difference: float, *, low: float = -1.0, high: float = 1.0, margin: float = 0.0) -> "Metric":
        """After one unit, whose difference was sure to lie in [low, high] before anything of it was known."""
        return Metric(
            self.units + 1,
            self.total + difference,
            self.harm.bet(difference, -low),
            self.safe.bet(margin - difference, high - margin),
        )

    @property
    def mean(self) -> float:
        return self.total / self.units if self.units else 0.0


@dataclass(frozen=True)
class Evidence:
    """All that is known of a candidate in canary."""

    errors: Metric = Metric()
    slow: Metric = Metric()
    loss: Metric = Metric()
    pairs: int = 0
    """Labelled requests that both answered."""
    live: int = 0
    """Callers' requests that the candidate answered in this step."""


@dataclass(frozen=True)
class Counts:
    """What one arm answered within one unit, and how many of the answers were bad."""

    bad: int
    requests: int


class Call(StrEnum):
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    HOLD = "hold"


@dataclass(frozen=True)
class Verdict:
    """What to do, why in words, and the numbers behind it."""

    call: Call
    reason: str
    numbers: Mapping[str, Any]


def contest(candidate: Counts, champion: Counts) -> float:
    """Who shows more bad answers in equally many requests: P(candidate) - P(champion), in [-1, 1].

    The arm with more requests is thinned at random to the other's number (hypergeometric, averaged over the draws). Where the
    candidate is no worse the two then are exchangeable, whatever the weights, the base rate, or the length of a burst.
    """
    if candidate.requests > champion.requests:
        return -contest(champion, candidate)
    size, marked, drawn = champion.requests, champion.bad, candidate.requests
    if drawn == 0:
        return 0.0
    low, high = max(0, drawn - (size - marked)), min(drawn, marked)
    score = 0.0
    for count in range(low, high + 1):
        if count != candidate.bad:
            chance = math.exp(_choose(marked, count) + _choose(size - marked, drawn - count) - _choose(size, drawn))
            score += math.copysign(chance, candidate.bad - count)
    return max(-1.0, min(1.0, score))


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def verdict(evidence: Evidence, *, step: int, last: bool, margin: float, policy: ReleasePolicy) -> Verdict:
    """Roll back, go a step on, or hold, for a candidate in canary step number `step` (0, 1, …)."""
    needed = math.log(METRICS / policy.alpha)
    numbers = _numbers(evidence, needed, margin, policy)
    for name, metric in (("failed answers", evidence.errors), ("slow answers", evidence.slow)):
        if metric.harm.peak >= needed:
            reason = f"more {name} than the champion's, {metric.mean:+.2f} of all contests over {metric.units} units"
            return Verdict(Call.ROLLBACK, reason, numbers)
    loss = evidence.loss
    if loss.harm.peak >= needed:
        reason = f"loss {loss.mean:+.4f} over the champion's on {evidence.pairs} labelled requests in {loss.units} blocks"
        return Verdict(Call.ROLLBACK, reason, numbers)
    missing = _missing(evidence, step, policy)
    if missing:
        return Verdict(Call.HOLD, f"not enough traffic: {', '.join(missing)}", numbers)
    doubtful = [name for name, metric in _named(evidence).items() if metric.harm.now >= DOUBT]
    if doubtful:
        odds = math.exp(_named(evidence)[doubtful[0]].harm.now)
        return Verdict(Call.HOLD, f"in doubt: evidence of harm by {doubtful[0]} {odds:.1f} of {math.exp(needed):.0f}", numbers)
    if last and loss.safe.peak < math.log(1 / policy.beta):
        shown = f"evidence {math.exp(loss.safe.peak):.1f} of {1 / policy.beta:.0f}, mean {loss.mean:+.4f}"
        reason = f"not yet shown to be within {margin:g} of the champion's loss: {shown}"
        return Verdict(Call.HOLD, reason, numbers)
    return Verdict(Call.PROMOTE, f"no harm in {evidence.live} requests and {loss.units} labelled blocks", numbers)


def _missing(evidence: Evidence, step: int, policy: ReleasePolicy) -> list[str]:
    requests, blocks = policy.canary_requests[step], policy.canary_blocks[step]
    missing = []
    if evidence.live < requests:
        missing.append(f"{evidence.live} of {requests} requests")
    if evidence.loss.units < blocks:
        missing.append(f"{evidence.loss.units} of {blocks} labelled blocks")
    return missing


def _named(evidence: Evidence) -> dict[str, Metric]:
    return {"errors": evidence.errors, "slow": evidence.slow, "loss": evidence.loss}


def _numbers(evidence: Evidence, needed: float, margin: float, policy: ReleasePolicy) -> dict[str, Any]:
    return {
        name: {"units": metric.units, "mean": round(metric.mean, 5), "evidence_of_harm": _odds(metric.harm)}
        for name, metric in _named(evidence).items()
    } | {
        "harm_at": round(math.exp(needed), 1),
        "evidence_of_safety": _odds(evidence.loss.safe),
        "safe_at": round(1 / policy.beta, 1),
        "margin": margin,
        "pairs": evidence.pairs,
        "requests": evidence.live,
    }


def _odds(wealth: Wealth) -> float:
    # Beyond this nobody cares, and JSON has no infinity.
    return round(math.exp(min(wealth.peak, 30.0)), 2)


def to_json(metric: Metric) -> dict[str, Any]:
    return asdict(metric)


def from_json(given: Mapping[str, Any]) -> Metric:
    harm, safe = (Wealth(tuple(given[key]["logs"]), given[key]["peak"]) for key in ("harm", "safe"))
    return Metric(given["units"], given["total"], harm, safe)
