"""A training seen through to its end: on a preemption the next placement epoch, on a failure an error.

It may be killed and started again at any moment: all it knows it reads from the checkpoints and the launcher.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from statistics import median

from pipelines.spot import policy
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.launcher import Event, Handle, Launcher, Placement


class TrainingFailed(Exception):
    """The worker failed by itself; another placement would fail, too."""


PREEMPTION_BUDGET = 20
"""More reclaims than this in one training and the pool is not worth it; apart from the failure budget, which is none."""
RESTART_S = 10.0
"""From a reclaim to the first segment under way again: starting Python, reading the table; measured at 3 s, tripled."""


def _now() -> datetime:
    return datetime.now(UTC)


def run(
    launcher: Launcher, checkpoints: Checkpoints, *, segments: int, deadline_s: float, now: Callable[[], datetime] = _now
) -> Iterator[Event]:
    """Train a work of `segments` segments through preemptions, to be done `deadline_s` after its first placement.

    Reattaches to what already runs. Yields every event. Raises TrainingFailed when the worker fails or the preemption
    budget is spent.
    """
    for _ in range(PREEMPTION_BUDGET + 1):
        done = _done(checkpoints)
        if done == segments:
            yield Event("succeeded", {"name": checkpoints.work})
            return
        handle = _place(launcher, checkpoints, segments - done, deadline_s, now())
        for event in launcher.events(handle, after=done - 1):
            if event.kind == "failed":
                yield event
                raise TrainingFailed(event.detail["reason"])
            # Success is what lies in the store, looked at above, not what the worker says of itself.
            if event.kind != "succeeded":
                yield event
    raise TrainingFailed(f"preempted {PREEMPTION_BUDGET + 1} times; use on-demand capacity for {checkpoints.work}")


def _done(checkpoints: Checkpoints) -> int:
    """Segments that need not be trained again."""
    last = checkpoints.latest()
    return 0 if last is None else last.segment + 1


def _place(launcher: Launcher, checkpoints: Checkpoints, left: int, deadline_s: float, now: datetime) -> Handle:
    newest = checkpoints.newest_epoch()
    if newest is not None:
        running = launcher.reattach(checkpoints.work, newest)
        if running is not None:
            return running
    first = checkpoints.epoch(0).get("at") if newest is not None else None
    elapsed = (now - datetime.fromisoformat(first)).total_seconds() if first else 0.0
    epoch = 0 if newest is None else newest + 1
    return launcher.submit(checkpoints.work, epoch, placement(checkpoints, left, deadline_s - elapsed))


def placement(checkpoints: Checkpoints, left: int, time_left_s: float) -> Placement:
    """Where the next epoch should run, by the spot policy, from the segments' own pace."""
    pace = [marker["seconds"] for marker in checkpoints.committed()]
    if not pace:
        return Placement("spot", "nothing is known of its pace yet")
    segment_s = median(pace)
    decision = policy.decide(
        policy.Situation(
            time_left=time_left_s,
            work_left=left * segment_s,
            # A kill costs at most the segment under way: that is how long a choice for spot binds.
            tick=segment_s,
            overhead=RESTART_S,
            running=None,
            # A pool that has no spot capacity leaves the job pending; the launcher reports that as a preemption.
            spot_available=True,
        )
    )
    return Placement("spot" if decision.capacity == "spot" else "on_demand", decision.reason)
