"""Launching training somewhere: the contract that a process, a Kubernetes Job and Ray share.

A submit is named by its work and placement epoch, so a second submit finds the first. What goes where next is `supervise`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Capacity = Literal["spot", "on_demand"]


@dataclass(frozen=True)
class Placement:
    """Where a placement epoch runs, and why there."""

    capacity: Capacity
    reason: str


@dataclass(frozen=True)
class Handle:
    """A submitted placement: enough to find it again from another process."""

    work: str
    epoch: int
    about: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.work}-e{self.epoch}"


@dataclass(frozen=True)
class Event:
    """What happened to a placement. `kind`: started, committed, succeeded, preempted, failed; the last three end it."""

    kind: str
    detail: dict[str, Any]

    @property
    def ends(self) -> bool:
        return self.kind in {"succeeded", "preempted", "failed"}


class Launcher(Protocol):
    def submit(self, work: str, epoch: int, placement: Placement) -> Handle:
        """Start the work in this placement epoch, or find the one already started, whoever else submits it now."""
        ...

    def reattach(self, work: str, epoch: int) -> Handle | None:
        """The placement if it still runs, from nothing but its name; None if it has ended or never was."""
        ...

    def events(self, handle: Handle, *, after: int = -1) -> Iterator[Event]:
        """What happens, as it happens, from the commit after segment `after` on; ends with an ending event, never without."""
        ...
