"""The spot policy on adversarial and on real traces: never late where on-demand alone could have made it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.spot import policy, traces
from pipelines.spot.policy import Decision, Situation
from pipelines.spot.replay import Job, replay
from stacks.errors import UserError


def _on_demand(_: Situation) -> Decision:
    return Decision("on_demand", "always")


def _greedy(now: Situation) -> Decision:
    return Decision("spot" if now.spot_available else "wait", "no guard at all")


@settings(max_examples=500, deadline=None)
@given(
    pattern=st.lists(st.booleans(), min_size=1, max_size=60),
    work=st.floats(0.05, 5),
    slack=st.floats(0, 3),
    overhead=st.floats(0, 0.7),
    tick=st.sampled_from([0.05, 1 / 6, 0.25]),
)
def test_never_late_where_on_demand_alone_would_have_made_it(
    pattern: list[bool], work: float, slack: float, overhead: float, tick: float
) -> None:
    job = Job(work=work, deadline=work + overhead + slack, overhead=overhead)
    available = (pattern * 400)[:400]
    assert not replay(available, tick, job, _on_demand).late, "the premise"
    outcome = replay(available, tick, job, policy.decide)
    assert not outcome.late, f"finished at {outcome.finish} of {job.deadline}"


def test_a_policy_without_a_guard_is_late_in_the_same_replay() -> None:
    assert replay([False] * 400, 0.25, Job(work=1, deadline=2, overhead=0.1), _greedy).late


def test_on_real_traces_it_costs_far_less_than_on_demand_and_is_never_late() -> None:
    found = [trace for trace in traces.samples() if len(trace.available) * trace.gap_s >= 70 * 3600]
    assert found
    outcomes = [
        replay(trace.available, trace.gap_s / 3600, Job(work=48, deadline=70, overhead=0.05), policy.decide) for trace in found
    ]
    assert not any(outcome.late for outcome in outcomes)
    assert sum(outcome.cost for outcome in outcomes) / len(outcomes) < 0.8 * 48 * 3.06


def test_a_trace_is_read_by_the_convention_that_is_named_and_the_other_one_inverts_it(tmp_path: Path) -> None:
    path = tmp_path / "0.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 600}, "data": [0, 1, 1]}))
    assert traces.read(path, convention="1 = preempted").available == (True, False, False)
    assert traces.read(path, convention="1 = available").available == (False, True, True)


@pytest.mark.parametrize("content", ["", "{}", '{"metadata": {"gap_seconds": 600}, "data": [0.5]}'])
def test_what_is_no_trace_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(UserError, match="bad.json is no trace"):
        traces.read(path, convention="1 = preempted")


def test_the_replay_charges_what_the_benchmark_charges() -> None:
    job = Job(work=1.0, deadline=3.0, overhead=0.25, spot_price=1.0, on_demand_price=3.0)
    # Half-hour ticks: spot sets up a quarter and works a quarter, is lost; on-demand sets up, works a quarter, then half.
    outcome = replay(
        [True, False, False, False], 0.5, job, lambda now: Decision("spot" if now.spot_available else "on_demand", "")
    )
    assert outcome.cost == pytest.approx(0.5 + 3 * 0.5 * 2)
    assert outcome.finish == pytest.approx(1.5)
