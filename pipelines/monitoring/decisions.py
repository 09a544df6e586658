"""The log of retraining decisions: append-only objects in the ledger bucket, one a decision, by conditional PUT."""

import json
from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipelines.monitoring.retraining import Decision
from pipelines.monitoring.triage import Cause
from pipelines.objects import ObjectExists, Objects

PREFIX = "decisions/"
DECISION_TAG = "spotforge/decision"
"""On the Dagster run that a decision started: its id."""


def read(objects: Objects) -> list[dict[str, Any]]:
    """Every decision, oldest first, with its `id`."""
    return [{**json.loads(objects.get(stored.key)), "id": _id(stored.key)} for stored in objects.list(PREFIX)]


def append(objects: Objects, decision: Decision, *, delivery: int) -> dict[str, Any]:
    """Write the decision once for a month's delivery; a retried step finds the first and returns that."""
    while True:
        known = read(objects)
        for one in known:
            if one["partition"] == decision.partition and one["delivery"] == delivery:
                return one
        key = f"{PREFIX}{int(known[-1]['id']) + 1 if known else 0:08d}.json"
        content = {**asdict(decision), "delivery": delivery, "when": datetime.now(UTC).isoformat()}
        try:
            objects.put_new(key, json.dumps(content, default=str).encode())
        except ObjectExists:
            continue
        return {**json.loads(json.dumps(content, default=str)), "id": _id(key)}


def last_training(known: list[dict[str, Any]], among: Collection[str] | None = None) -> str | None:
    """The month whose decision last started the training of a model; of the decisions with these ids only, where given."""
    trained = [
        one["partition"] for one in known if one["action"] in {"train", "retrain"} and (among is None or one["id"] in among)
    ]
    return trained[-1] if trained else None


def faulty(known: list[dict[str, Any]]) -> tuple[str, ...]:
    """The months whose newest decision says that their feed was at fault; a corrected delivery may clear one."""
    newest = {one["partition"]: one["cause"] for one in known}
    return tuple(sorted(month for month, cause in newest.items() if cause == Cause.DATA_QUALITY))


def _id(key: str) -> str:
    return key.removeprefix(PREFIX).removesuffix(".json")
