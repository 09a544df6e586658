"""Launching training somewhere: the contract that a process, a Kubernetes Job and Ray share.

A submit is named by its work and placement epoch, so a second submit finds the first. Preemption is no failure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.training.checkpoints import Checkpoints


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
    def submit(self, work: str, epoch: int) -> Handle:
        """Start the work in this placement epoch, or find the one already started."""
        ...

    def events(self, handle: Handle, *, seen: int = 0) -> Iterator[Event]:
        """What happens, as it happens, from the `seen`-th commit on; ends with an ending event. Never waits for a ghost."""
        ...


class TrainingFailed(Exception):
    """The worker failed by itself; another placement would fail, too."""


PREEMPTION_BUDGET = 20
"""More reclaims than this in one training and the pool is not worth it; apart from the failure budget, which is none."""


def run(launcher: Launcher, checkpoints: Checkpoints) -> Iterator[Event]:
    """Train a work through preemptions: each one begins a new placement epoch. Reattaches to what already runs.

    Yields every event. Raises TrainingFailed when the worker fails or the preemption budget is spent.
    """
    epoch = checkpoints.newest_epoch() or 0
    seen = len(checkpoints.committed())
    for _ in range(PREEMPTION_BUDGET + 1):
        handle = launcher.submit(checkpoints.work, epoch)
        for event in launcher.events(handle, seen=seen):
            seen += event.kind == "committed"
            yield event
            if event.kind == "succeeded":
                return
            if event.kind == "failed":
                raise TrainingFailed(event.detail["reason"])
        epoch += 1
    raise TrainingFailed(f"preempted {PREEMPTION_BUDGET + 1} times; use on-demand capacity for {checkpoints.work}")
