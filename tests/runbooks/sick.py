"""Sick stacks as readings: what the page's sample shows, and what the decision is tested on."""

from typing import Any

from runbooks.serving_errors.diagnose import Counts, Reading

PROGRAMS = {
    "envoy": "RUNNING",
    "mlflow": "RUNNING",
    "release-controller": "RUNNING",
    "serving-r0001-aaaaaaaa": "RUNNING",
    "serving-r0002-bbbbbbbb": "RUNNING",
}
OLD, NEW = "r0001-aaaaaaaa", "r0002-bbbbbbbb"


def reading(**changes: Any) -> Reading:
    """A healthy stack in the middle of a canary, but for `changes`."""
    healthy: dict[str, Any] = {
        "callers": Counts(500, 0),
        "releases": {OLD: Counts(375, 0), NEW: Counts(125, 0)},
        "programs": PROGRAMS,
        "ledger": (OLD, NEW),
    }
    return Reading(**healthy | changes)


CANARY_ERRS = reading(callers=Counts(500, 31), releases={OLD: Counts(375, 0), NEW: Counts(125, 31)})
