"""Whether to train now: the cause proposes, the governor disposes. Pure; `decisions` keeps what was decided."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.monitoring.triage import Cause, Triage

COOLDOWN = 1
"""Months that must lie between two retrainings: the new model's own outcomes have to come in before it is judged."""
RETRAIN = frozenset({Cause.CONCEPT_DRIFT, Cause.DATA_DRIFT_WITH_LOSS})


@dataclass(frozen=True)
class Situation:
    """What the governor knows. Months are `YYYY-MM`, in order."""

    partition: str
    months: tuple[str, ...]
    """Months that have features."""
    min_months: int
    released: int
    """How many releases were ever in production: none, the baseline alone, or models."""
    in_flight: str | None
    baseline_asked: bool
    """Whether a baseline was decided on before; its release may still be on its way."""
    last_training: str | None
    """The month whose decision last started a training."""
    faulty: tuple[str, ...] = ()
    """Months whose live feed was at fault: not learned from again while their batch is in doubt."""


@dataclass(frozen=True)
class Decision:
    """`action`: none, baseline, train or retrain. `partitions` is the window to learn from."""

    action: str
    cause: str
    reasons: tuple[str, ...]
    partitions: tuple[str, ...]
    partition: str

    @property
    def trains(self) -> bool:
        return self.action != "none"


def decide(triage: Triage | None, situation: Situation) -> Decision:
    """What to do about a month; `triage` is None where nothing was served."""
    if situation.in_flight:
        return _none(triage, situation, f"release {situation.in_flight} is in flight; one at a time")
    if not situation.released:
        if situation.baseline_asked:
            return _none(triage, situation, "the baseline is on its way")
        return _start("baseline", "no_release", ("nothing serves yet: the baseline holds the place",), situation)
    if situation.released == 1 and situation.last_training is None:
        return _first_model(triage, situation)
    return _again(triage, situation)


def _first_model(triage: Triage | None, situation: Situation) -> Decision:
    have, need = len(situation.months), situation.min_months
    if have < need:
        return _none(triage, situation, f"{have} of {need} months are there to train the first model")
    return _start("train", "no_model", (f"{need} months are there: time for a model",), situation)


def _again(triage: Triage | None, situation: Situation) -> Decision:
    if triage is None or triage.cause not in RETRAIN:
        return _none(triage, situation, triage.remedy if triage else "nothing was served in this month")
    since = _between(situation.months, situation.last_training, situation.partition)
    if since is not None and since <= COOLDOWN:
        return _none(triage, situation, f"cooldown: the last training was decided on {situation.last_training}")
    return _start("retrain", triage.cause, (*triage.reasons, triage.remedy), situation)


def _start(action: str, cause: str, reasons: tuple[str, ...], situation: Situation) -> Decision:
    return Decision(action, cause, reasons, situation.months[-situation.min_months :], situation.partition)


def _none(triage: Triage | None, situation: Situation, reason: str) -> Decision:
    return Decision("none", triage.cause if triage else "not_served", (reason,), (), situation.partition)


def _between(months: Sequence[str], earlier: str | None, later: str) -> int | None:
    if earlier is None or earlier not in months or later not in months:
        return None
    return months.index(later) - months.index(earlier)
