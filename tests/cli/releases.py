"""Releases as pipelines leave them in a ledger, made without a model: records and moves only."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pipelines.release import record
from pipelines.release.ledger import Ledger
from pipelines.release.record import Release, Stage

FIRST_WAY = (Stage.CANDIDATE, Stage.STAGING, Stage.PRODUCTION)
"""The first release of all has nobody to be compared with."""
TO_SHADOW = (Stage.CANDIDATE, Stage.STAGING, Stage.SHADOW)
TO_CANARY = (*TO_SHADOW, Stage.CANARY)
TO_PRODUCTION = (*TO_CANARY, Stage.PRODUCTION)


def make(ledger: Ledger, number: int, way: Iterable[Stage] = (Stage.CANDIDATE,), *, why: str = "a month has passed") -> str:
    """Store release `number` and take it along `way`; returns its id."""
    content: dict[str, Any] = {
        "created_at": datetime(2013, number, 1, tzinfo=UTC),
        "created_by": "dagster",
        "reason": why,
        "code": {"git_sha": "0123456789abcdef", "image": "sha256:feed"},
        "model": {
            "name": "flights",
            "version": str(number),
            "digest": "d" * 64,
            "package": "packages/flights/dd",
            "run_id": "r",
        },
        "data": {
            "training_set": "training-sets/t.json",
            "tables": {"features": 3},
            "partitions": ["2013-01"],
            "feature_view": "v",
        },
        "infra": "i",
        "evidence": {},
    }
    release = Release(id=record.release_id(number, content), **content)
    record.save(ledger.objects, release)
    stage: Stage | None = None
    for to in way:
        move(ledger, release.id, stage, to, why=why)
        stage = to
    return release.id


def move(ledger: Ledger, release: str, from_: Stage | None, to: Stage, *, why: str) -> None:
    evidence = {"model": f"flights {int(release[1:5])}"} if to is Stage.CANDIDATE else {}
    weight = 25 if to is Stage.CANARY else None
    ledger.append(release, to, from_=from_, who="controller", why=why, weight=weight, evidence=evidence)
