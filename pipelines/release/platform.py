"""What the release controller needs of the place it runs in: a gateway that splits traffic and a fleet that runs servers.

Protocols only. Local adapters: `gateway_envoy`, `fleet_local`; the cluster's come with its gateway.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.release.record import Release


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
    endpoints: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """Cumulative counts of one release at the gateway since it was first routed to, callers' requests only (no mirror)."""

    requests: int
    errors: int
    """Answers with a 5xx status, resets and timeouts."""
    over_slo: int


class Gateway(Protocol):
    def apply(self, routes: Routes) -> None:
        """Make it so; returns when every new request follows `routes`. Idempotent. Loses no request."""
        ...

    def observe(self) -> Mapping[str, Arm]:
        """Counts a release. Raises UserError when the gateway does not answer: never zeros."""
        ...


class Fleet(Protocol):
    def ensure(self, release: Release) -> tuple[Endpoint, ...]:
        """Have the release's servers running from exactly its image and model; returns the ready ones. Idempotent."""
        ...

    def remove(self, release: str) -> None:
        """Stop the release's servers after their last answer. Idempotent."""
        ...

    def running(self) -> frozenset[str]:
        """Ids of releases that have servers, whatever started them."""
        ...
