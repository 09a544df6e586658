"""Verdicts as the room's other parts give them, for the tests of what follows from them."""

from pipelines.monitoring.clusters import Mean
from pipelines.monitoring.concept import Concept, Gap
from pipelines.monitoring.performance import Performance
from pipelines.monitoring.quality import Finding
from pipelines.monitoring.triage import REMEDIES, Cause, Triage


def finding(column: str = "temp") -> Finding:
    return Finding("served", column, "nulls", 0.5, 0.01, f"{column} is missing from 50.0% of rows; usual is 0.1%")


def performance(*, enough: bool = True, worse: bool = False) -> Performance:
    rows = 3000 if enough else 200
    loss = Mean(0.13, 0.002, rows, 30)
    reason = "loss 0.1300 (± 0.0040), promised 0.1280" if enough else "200 outcomes of 3,000 answers"
    return Performance(3000, rows, loss, 0.128, {"auc": 0.7} if enough else {}, worse, reason)


def concept(*, decided: bool = True, changed: bool = False) -> Concept:
    if not decided:
        return Concept(False, False, (), "200 outcomes on 30 days")
    gap = Gap("all", Mean(0.1 if changed else 0.0, 0.01, 3000, 30), 0.001 if changed else 1.0)
    return Concept(True, changed, (gap,), "all: outcomes are +10.0% from the predictions (± 2.0%)")


def triage(cause: Cause) -> Triage:
    return Triage(cause, ("because",), REMEDIES[cause])
