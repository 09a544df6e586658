"""Whether to train now: the cause proposes, the governor disposes. Pure; `decisions` keeps what was decided."""

from dataclasses import dataclass

from pipelines.monitoring.triage import Cause, Triage

COOLDOWN = 1
"""Months that a model serves before another is trained: its own outcomes have to come in before it is judged. A model that
stopped at a gate or in canary never served, and is no reason to wait."""
WINDOW = 12
"""Months to learn from at most: each season once. Older rows say more of a world that is gone."""
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
    last_promoted: str | None = None
    """The month whose decision started the training of the newest model that came into production."""
    faulty: tuple[str, ...] = ()
    """Months judged to have a faulty feed, and not corrected since: not learned from."""

    @property
    def sound(self) -> tuple[str, ...]:
        """The months to learn from. This one is judged anew, whatever an earlier delivery of it was."""
        return tuple(month for month in self.months if month == self.partition or month not in self.faulty)


@dataclass(frozen=True)
class Decision:
    """`action`: none, baseline, train or retrain. `partitions` is the window to learn from."""

    action: str
    cause: str
    reasons: tuple[str, ...]
    partitions: tuple[str, ...]
    partition: str


def decide(triage: Triage | None, situation: Situation) -> Decision:
    """What to do about a month; `triage` is None where nothing was served."""
    if situation.in_flight:
        return _none(triage, situation, f"release {situation.in_flight} is in flight; one at a time")
    if not situation.released:
        if situation.baseline_asked:
            return _none(triage, situation, "the baseline is on its way")
        return _start("baseline", "no_release", ("nothing serves yet: the baseline holds the place",), situation)
    first = situation.released == 1
    if triage and (triage.cause is Cause.DATA_QUALITY or not first and triage.cause not in RETRAIN):
        return _none(triage, situation, triage.remedy)
    if triage is None and not first:
        return _none(triage, situation, "nothing was served in this month")
    return _train(triage, situation, first=first)


def _train(triage: Triage | None, situation: Situation, *, first: bool) -> Decision:
    """There is reason to train; whether it is the time. A first model that stopped at a gate is tried anew on newer months."""
    last, served = situation.last_training, situation.last_promoted
    if last and last >= situation.partition:
        return _none(triage, situation, f"a training that was decided on {last} has seen as much as this month")
    if served and sum(served < month <= situation.partition for month in situation.months) <= COOLDOWN:
        return _none(triage, situation, f"cooldown: the model in production was decided on in {served}")
    have, need = len(situation.sound), situation.min_months
    if have < need:
        return _none(triage, situation, f"{have} of {need} months to learn from are there")
    if first or triage is None:
        return _start("train", "no_model", (f"{need} months are there: time for a model",), situation)
    return _start("retrain", triage.cause, (*triage.reasons, triage.remedy), situation)


def _start(action: str, cause: str, reasons: tuple[str, ...], situation: Situation) -> Decision:
    window = situation.sound[-max(WINDOW, situation.min_months) :]
    left_out = [month for month in situation.months if window and month > window[0] and month not in window]
    if left_out:
        reasons = (*reasons, f"left out, their feed was faulty: {', '.join(left_out)}")
    return Decision(action, cause, reasons, window, situation.partition)


def _none(triage: Triage | None, situation: Situation, reason: str) -> Decision:
    return Decision("none", triage.cause if triage else "not_served", (reason,), (), situation.partition)
