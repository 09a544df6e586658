"""What one operation of the engine did, read from the engine's own event log rather than from what it printed.

Running the operation is engine.py's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Steps that leave everything as it is; reads are of what the program only looks up.
QUIET = {"same", "read", "refresh"}


@dataclass(frozen=True)
class Step:
    """One step on one resource. A replacement is three: create-replacement, replace, delete-replaced."""

    op: str
    urn: str
    type: str
    changed: tuple[str, ...] = ()
    replaced_for: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]


@dataclass(frozen=True)
class Diagnostic:
    severity: str
    message: str
    urn: str = ""


@dataclass(frozen=True)
class Violation:
    policy: str
    level: str
    urn: str
    message: str


@dataclass(frozen=True)
class Result:
    """What happened. `counts` is the engine's own, by operation; `steps` those that changed something, in order."""

    code: int
    seconds: float
    counts: dict[str, int]
    steps: tuple[Step, ...]
    failed: tuple[Step, ...]
    diagnostics: tuple[Diagnostic, ...]
    violations: tuple[Violation, ...]
    tail: str
    """The last lines that the CLI printed, for people."""

    @property
    def changes(self) -> dict[str, int]:
        """The counts of what is not the same as before; empty for an operation that changed nothing."""
        return {op: count for op, count in self.counts.items() if op not in QUIET}

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(item.message for item in self.diagnostics if item.severity == "error")

    def of(self, op: str) -> list[Step]:
        return [step for step in self.steps if step.op == op]


def read(path: Path, *, code: int, seconds: float, tail: str) -> Result:
    """From an event log, one JSON event a line; one that is missing (the CLI stopped before it) is an empty one."""
    lines = path.read_text().splitlines() if path.exists() else []
    events = [json.loads(line) for line in lines]
    summaries = _of(events, "summaryEvent")
    return Result(
        code=code,
        seconds=seconds,
        counts=dict(summaries[-1].get("resourceChanges") or {}) if summaries else {},
        steps=tuple(step for step in map(_step, _of(events, "resourcePreEvent")) if step.op not in QUIET),
        failed=tuple(map(_step, _of(events, "resOpFailedEvent"))),
        diagnostics=tuple(
            Diagnostic(item["severity"], item["message"].strip(), item.get("urn", ""))
            for item in _of(events, "diagnosticEvent")
            if not item.get("ephemeral")
        ),
        violations=tuple(
            Violation(item["policyName"], item["enforcementLevel"], item.get("resourceUrn", ""), item["message"].strip())
            for item in _of(events, "policyEvent")
        ),
        tail=tail,
    )


def _of(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event[name] for event in events if event.get(name) is not None]


def _step(event: dict[str, Any]) -> Step:
    metadata = event["metadata"]
    return Step(
        metadata["op"],
        metadata["urn"],
        metadata["type"],
        tuple(metadata.get("diffs") or ()),
        tuple(metadata.get("keys") or ()),
    )
