"""What the release controller needs of the place it runs in: a gateway that splits traffic and a fleet that runs servers.

Protocols only. Local adapters: `gateway_envoy`, `fleet_local`; the cluster's come with its gateway.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.release.record import Release
from stacks.errors import UserError


@dataclass(frozen=True)
class Endpoint:
    """One running server of a release; loopback or cluster-internal."""

    host: str
    port: int


@dataclass(frozen=True)
class Routes:
    """Desired routing: percent a release (sums to 100; empty means that nothing serves), and who gets a copy."""

    weights: Mapping[str, int] = field(default_factory=dict)
    mirror: str | None = None
    """Gets a copy of every request that it does not answer itself; its answers go nowhere."""
    endpoints: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    timeout_ms: int = 2000


@dataclass(frozen=True)
class Arm:
    """Cumulative counts of one release at the gateway since it was first routed to. Smaller than before: counted anew."""

    requests: int = 0
    errors: int = 0
    """Answers with a 5xx status, resets and timeouts; each failed try that the gateway repeated, too."""
    timed: int = 0
    """Answers whose time is known by now: a gateway may publish times later than counts."""
    over_slo: int = 0
    """Of these, the ones that took longer than the SLO."""


@dataclass(frozen=True)
class Traffic:
    """Counts a release: callers' requests, and copies."""

    live: Mapping[str, Arm]
    mirrored: Mapping[str, Arm]


class Gateway(Protocol):
    def apply(self, routes: Routes) -> None:
        """Make it so; returns when every new request follows `routes`. Idempotent. Loses no request.

        Raises UserError when the gateway does not answer or does not take them; the routes before then stay.
        """
        ...

    def observe(self, slo_ms: int) -> Traffic:
        """Counts so far. Raises UserError when the gateway does not answer: never zeros."""
        ...


class ServerFailed(UserError):
    """A release's server does not start, however often it is tried."""


class Fleet(Protocol):
    def ensure(self, release: Release) -> tuple[Endpoint, ...]:
        """Have the release's servers running from exactly its image and model; returns the ready ones. Idempotent.

        Returns at once: a server that is still starting is not among them. Raises ServerFailed when it never will be, and
        UserError when it cannot be tried (the store is away, the image is damaged).
        """
        ...

    def remove(self, release: str) -> None:
        """Stop the release's servers after their last answer. Idempotent."""
        ...

    def running(self) -> frozenset[str]:
        """Ids of releases that have servers, whatever started them."""
        ...
