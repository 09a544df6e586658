"""The vocabulary of every runbook: alert, diagnosis, step, access, exit codes.

What one alert means, and how it is diagnosed and mitigated, is its own folder.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Verdict(StrEnum):
    """What a diagnosis found. What cannot be read is CANNOT_TELL, never HEALTHY."""

    HEALTHY = "healthy"
    CONFIRMED = "confirmed"
    CANNOT_TELL = "cannot tell"


EXIT_CODES = {Verdict.HEALTHY: 0, Verdict.CONFIRMED: 10, Verdict.CANNOT_TELL: 20}
"""Of `spotforge runbook NAME`, for scripts. 1 and 2 stay what they are everywhere: an error, and misuse."""


class Part(StrEnum):
    """What a runbook can be given access to."""

    GATEWAY_STATISTICS = "gateway statistics"
    MODEL_SERVERS = "model servers"
    RELEASE_LEDGER = "release ledger"


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a runbook may touch; infra builds exactly this role for it."""

    read: tuple[Part, ...]
    write: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One Prometheus alerting rule, with what a person woken by it needs to know. The runbook's link is derived."""

    name: str
    expr: str
    hold: str
    """How long the expression must be true, as Prometheus writes it."""
    severity: Literal["page", "ticket"]
    summary: str
    """One line; may hold Prometheus templates."""
    threshold: str
    """Why this threshold and not another."""
    normal: str
    """What the expression shows on a good day."""
    false_positive: str
    """When it fires and nothing is wrong."""
    pairs_with: tuple[str, ...] = ()
    """Other signals to read beside it."""


@dataclass(frozen=True)
class Finding:
    """One thing that was read. `bad` is None where it could not be."""

    says: str
    bad: bool | None = False


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong, from what was read."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    cause: str | None = None
    """A slug that the mitigation acts on."""
    subject: str | None = None
    """The program or release that the cause is about."""
    next_step: str = ""
    """For a person, where no step of the plan does it."""


@dataclass(frozen=True)
class Step:
    """One action: what it will do, how it is taken back, and the doing. `run` answers with what it did."""

    say: str
    undo: str
    run: Callable[[], str] = field(compare=False)
