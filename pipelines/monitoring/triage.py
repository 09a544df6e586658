"""What ails a month, and what helps: one cause, its reasons, its remedy. Pure.

A faulty feed is looked for first: it makes every other number lie. Then changes of the world, which need outcomes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipelines.monitoring.concept import Concept
from pipelines.monitoring.performance import Performance
from pipelines.monitoring.quality import Finding


class Cause(StrEnum):
    HEALTHY = "healthy"
    DATA_QUALITY = "data_quality"
    NOT_ENOUGH_LABELS = "not_enough_labels"
    CONCEPT_DRIFT = "concept_drift"
    DATA_DRIFT = "data_drift"
    DATA_DRIFT_WITH_LOSS = "data_drift_with_loss"
    LOSS_UNEXPLAINED = "loss_unexplained"


REMEDIES = {
    Cause.HEALTHY: "none",
    Cause.DATA_QUALITY: "mend the feed; a model trained on this month would learn the fault",
    Cause.NOT_ENOUGH_LABELS: "wait for outcomes",
    Cause.CONCEPT_DRIFT: "retrain on the newest months: the old outcomes no longer hold",
    Cause.DATA_DRIFT: "watch: the inputs moved, as seasons do, and the model still holds",
    Cause.DATA_DRIFT_WITH_LOSS: "retrain with the newest months in the window: the model has not seen such inputs",
    Cause.LOSS_UNEXPLAINED: "look at the slices: the loss rose, neither inputs nor outcomes say why",
}


# The largest shifts tell the season; the rest are in the drift record.
NAMED = 4


@dataclass(frozen=True)
class Triage:
    """The verdict on one month."""

    cause: Cause
    reasons: tuple[str, ...]
    remedy: str


def judge(quality: Sequence[Finding], drifted: Sequence[str] | None, performance: Performance, concept: Concept) -> Triage:
    """One cause for one month; `drifted` names the features whose inputs moved, None where that could not be judged."""
    moved = _moved(drifted)
    if quality:
        return _found(Cause.DATA_QUALITY, *(finding.text for finding in quality[:3]))
    if not performance.enough or not concept.decided:
        return _found(Cause.NOT_ENOUGH_LABELS, concept.reason if performance.enough else performance.reason, moved)
    if concept.changed:
        return _found(Cause.CONCEPT_DRIFT, concept.reason, performance.reason, moved)
    if performance.worse:
        return _found(Cause.DATA_DRIFT_WITH_LOSS if drifted else Cause.LOSS_UNEXPLAINED, performance.reason, moved)
    if drifted:
        return _found(Cause.DATA_DRIFT, moved, performance.reason)
    return _found(Cause.HEALTHY, performance.reason, moved)


def _moved(drifted: Sequence[str] | None) -> str:
    if drifted is None:
        return "too few days to compare the inputs"
    if not drifted:
        return "inputs as before"
    return f"inputs moved: {', '.join(drifted[:NAMED])}{' …' if len(drifted) > NAMED else ''}"


def _found(cause: Cause, *reasons: str) -> Triage:
    return Triage(cause, reasons, REMEDIES[cause])
