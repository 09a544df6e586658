"""A deadline job replayed tick by tick over a trace, under a policy: what it would have cost and when it would have ended.

Pure. The protocol is that of the public deadline benchmark; the bench that scores policies on it is elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.spot.policy import Decision, Situation


@dataclass(frozen=True, kw_only=True)
class Job:
    """Hours throughout; prices an hour."""

    work: float
    deadline: float
    overhead: float
    spot_price: float = 0.9731
    on_demand_price: float = 3.06


@dataclass(frozen=True)
class Outcome:
    cost: float
    finish: float
    """Hours from the start to the end of the work; infinite when the trace ended first."""
    late: bool
    """It ended after its deadline, by more than rounding."""


def replay(available: Sequence[bool], tick: float, job: Job, policy: Callable[[Situation], Decision]) -> Outcome:
    """Run the job. A start or a switch costs the overhead; spot lost between ticks is a restart; a begun tick is paid whole."""
    work, overhead_left, cost = job.work, 0.0, 0.0
    running: Literal["spot", "on_demand"] | None = None
    for number, there in enumerate(available):
        if running == "spot" and not there:
            running = None
        situation = Situation(
            time_left=job.deadline - number * tick,
            work_left=work,
            tick=tick,
            overhead=job.overhead,
            running=running,
            spot_available=there,
            overhead_left=overhead_left if running else 0.0,
        )
        choice = policy(situation).capacity
        if choice == "spot" and not there:
            raise ValueError(f"tick {number}: the policy chose spot where there is none")
        if choice == "wait":
            running = None
            continue
        if choice != running:
            overhead_left = job.overhead
        running = choice
        cost += tick * (job.spot_price if choice == "spot" else job.on_demand_price)
        setting_up = min(tick, overhead_left)
        overhead_left -= setting_up
        if work <= tick - setting_up + ROUNDING_H:
            finish = number * tick + setting_up + work
            return Outcome(cost, finish, finish > job.deadline + ROUNDING_H)
        work -= tick - setting_up
    return Outcome(cost, float("inf"), True)


# A thousandth of a second: hundreds of ticks of a sixth of an hour do not sum exactly.
ROUNDING_H = 0.001 / 3600
