"""Spot, on-demand or wait: a pure function of what is known now, that is never late if on-demand alone could have made it.

Time is in any one unit. No prices and no forecast yet: spot is taken to be cheaper than on-demand, and waiting to be free.
"""

from dataclasses import dataclass
from typing import Literal

RESERVE = 0.08
"""Share of the work left that is kept as slack rather than waited away: without slack no reclaim can be afforded, and spot is
out of reach for good. Between 0.06 and 0.15 the cost on the public windows hardly differs."""
Choice = Literal["spot", "on_demand", "wait"]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known when a choice is due."""

    time_left: float
    """Until the deadline."""
    work_left: float
    tick: float
    """How long a choice binds: until the next one is asked for."""
    overhead: float
    """What a start or a switch costs before work goes on."""
    running: Literal["spot", "on_demand"] | None
    """What ran until now and has not been reclaimed."""
    spot_available: bool
    overhead_left: float = 0.0
    """What is left of the overhead of what runs."""


@dataclass(frozen=True)
class Decision:
    capacity: Choice
    reason: str


def decide(now: Situation) -> Decision:
    """The slack rule with its guard.

    Slack is time left minus work left. The invariant: after every tick, starting on-demand then still meets the deadline,
    that is slack >= overhead, or on-demand runs already and slack >= what is left of its overhead. Each choice other
    than on-demand is made only if the invariant survives its worst tick:

    - waiting loses the tick: slack >= tick + overhead (and the reserve, which is thrift, not safety);
    - starting spot loses min(tick, overhead) before it works, then spot may go: slack >= min(tick, overhead) + overhead;
    - staying on spot loses only the rest of its overhead: slack >= min(tick, overhead left) + overhead.

    On-demand never loses slack but for its own overhead, so by induction a run is late only if it was lost from the start.
    """
    slack = now.time_left - now.work_left
    # Sums of many ticks differ from their exact value by rounding; a second of a year is 3e-8.
    slack -= 1e-9 * max(abs(now.time_left), 1.0)
    loss = now.overhead_left if now.running == "spot" else now.overhead
    spot_needs = min(now.tick, loss) + now.overhead
    if now.spot_available and slack >= spot_needs:
        return Decision("spot", f"spot: slack {slack:.6g} covers a reclaim ({spot_needs:.6g})")
    if now.spot_available:
        return Decision("on_demand", f"on-demand: slack {slack:.6g} would not survive a reclaim ({spot_needs:.6g})")
    wait_needs = now.tick + now.overhead + RESERVE * now.work_left
    if now.running == "on_demand":
        return Decision("on_demand", "on-demand: it runs, and there is no spot to go back to")
    if slack >= wait_needs:
        return Decision("wait", f"wait: no spot, and slack {slack:.6g} affords another look ({wait_needs:.6g})")
    return Decision("on_demand", f"on-demand: no spot, and slack {slack:.6g} affords no waiting ({wait_needs:.6g})")
