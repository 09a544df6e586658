"""The decision alone: from a reading to verdict, cause and plan."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.model import Verdict
from runbooks.serving_errors.diagnose import MIN_REQUESTS, Counts, Reading, judge
from runbooks.serving_errors.mitigate import plan
from stacks.outputs import Buckets, Gateway, ObjectStore, Orchestration, StackOutputs, Tracking
from tests.runbooks.sick import CANARY_ERRS, NEW, OLD, PROGRAMS, reading

OUTPUTS = StackOutputs(
    stack="local",
    platform="local",
    object_store=ObjectStore(region="r", buckets=Buckets(artifacts="a", data="d", ledger="l", logs="g")),
    tracking=Tracking(uri="http://t"),
    orchestration=Orchestration(url="http://o"),
    gateway=Gateway(url="http://g", admin_url="http://a"),
    state_dir=Path("/nowhere"),
)


def test_a_healthy_stack_is_healthy_and_needs_nothing() -> None:
    diagnosis = judge(reading())
    assert diagnosis.verdict is Verdict.HEALTHY
    assert plan(OUTPUTS, diagnosis) == ()
    assert not any(finding.bad for finding in diagnosis.findings)


@pytest.mark.parametrize(
    ("changes", "cause", "subject", "step"),
    [
        ({"ledger": (None, None), "releases": {}}, "no-release", None, None),
        (
            {"programs": PROGRAMS | {f"serving-{OLD}": "FATAL"}},
            "server-down",
            f"serving-{OLD}",
            f"restart serving-{OLD}",
        ),
        (
            {"programs": {name: state for name, state in PROGRAMS.items() if NEW not in name}},
            "server-down",
            f"serving-{NEW}",
            f"restart serving-{NEW}",
        ),
        (
            {"callers": Counts(500, 31), "releases": {OLD: Counts(375, 0), NEW: Counts(125, 31)}},
            "canary-errors",
            NEW,
            f"roll back {NEW}",
        ),
        (
            {"callers": Counts(500, 300), "releases": {OLD: Counts(375, 200), NEW: Counts(125, 100)}},
            "release-errors",
            OLD,
            f"roll back {OLD} to the release before it",
        ),
        (
            {"callers": Counts(500, 500), "releases": {OLD: Counts(), NEW: Counts()}},
            "not-routed",
            "release-controller",
            "restart release-controller",
        ),
    ],
)
def test_each_cause_is_told_from_the_others(changes: dict[str, Any], cause: str, subject: str | None, step: str | None) -> None:
    diagnosis = judge(reading(**changes))
    assert (diagnosis.verdict, diagnosis.cause, diagnosis.subject) == (Verdict.CONFIRMED, cause, subject)
    assert [found.say for found in plan(OUTPUTS, diagnosis)] == ([step] if step else [])
    assert diagnosis.next_step, "there is always a next move for a person"


@pytest.mark.parametrize(
    "changes",
    [
        {"callers": None, "releases": None, "silent": ("gateway: away",)},
        {"ledger": None, "silent": ("ledger: away",)},
        {"programs": None, "silent": ("supervisor: away",)},
        {"releases": None, "silent": ("gateway: half a word",)},
        {"callers": Counts(MIN_REQUESTS - 1, 0)},
        {"callers": Counts()},
    ],
)
def test_what_cannot_be_read_is_never_healthy_and_nothing_is_planned(changes: dict[str, Any]) -> None:
    diagnosis = judge(reading(**changes))
    assert diagnosis.verdict is Verdict.CANNOT_TELL
    assert plan(OUTPUTS, diagnosis) == ()
    assert any(finding.bad is None for finding in diagnosis.findings), "the page says what could not be read"


def test_a_sick_part_is_named_even_where_another_is_silent() -> None:
    diagnosis = judge(reading(ledger=(OLD, None), programs=PROGRAMS | {f"serving-{OLD}": "BACKOFF"}, silent=("x: away",)))
    assert diagnosis.cause == "server-down"


def test_one_stray_error_among_few_answers_rolls_nothing_back() -> None:
    diagnosis = judge(reading(callers=Counts(5, 1), releases={OLD: Counts(4, 0), NEW: Counts(1, 1)}))
    assert diagnosis.verdict is Verdict.CANNOT_TELL


counts = st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: Counts(max(pair), min(pair)))
readings = st.builds(
    Reading,
    callers=st.none() | counts,
    releases=st.none() | st.dictionaries(st.sampled_from([OLD, NEW]), counts),
    programs=st.none() | st.dictionaries(st.sampled_from(list(PROGRAMS)), st.sampled_from(["RUNNING", "FATAL", "BACKOFF"])),
    ledger=st.none() | st.tuples(st.none() | st.just(OLD), st.none() | st.just(NEW)),
    silent=st.just(()) | st.just(("a part: away",)),
)


@given(readings)
def test_healthy_means_that_everything_was_read_and_nothing_was_bad_enough(found: Reading) -> None:
    diagnosis = judge(found)
    if diagnosis.verdict is Verdict.HEALTHY:
        assert found.callers is not None and found.callers.requests >= MIN_REQUESTS
        assert not found.silent
        assert found.programs is not None and found.releases is not None
        assert found.ledger is not None and found.ledger[0] is not None
        assert not found.callers.bad
    if diagnosis.verdict is not Verdict.CONFIRMED:
        assert plan(OUTPUTS, diagnosis) == (), "only a confirmed cause is acted on"


def test_the_sample_is_the_canary_story() -> None:
    assert judge(CANARY_ERRS).cause == "canary-errors"
