"""Verdicts as the JSON records that assets hand each other, read back into the values the decisions take."""

from typing import Any

from pipelines.monitoring.clusters import Mean
from pipelines.monitoring.concept import Concept, Gap
from pipelines.monitoring.performance import Performance
from pipelines.monitoring.quality import Finding
from pipelines.monitoring.triage import Cause, Triage

Record = dict[str, Any]


def findings(record: Record) -> list[Finding]:
    return [Finding(**one) for one in record["findings"]]


def performance(record: Record) -> Performance:
    names = ("labelled", "expected", "metrics", "worse", "reason")
    return Performance(served=record["answers"], loss=Mean(**record["loss"]), **{name: record[name] for name in names})


def concept(record: Record) -> Concept:
    gaps = tuple(Gap(one["stratum"], Mean(**one["gap"]), one["p"]) for one in record["gaps"])
    return Concept(record["decided"], record["changed"], gaps, record["reason"])


def triage(record: Record) -> Triage | None:
    """None where nothing was served in the month."""
    return Triage(Cause(record["cause"]), tuple(record["reasons"]), record["remedy"]) if record["served"] else None
