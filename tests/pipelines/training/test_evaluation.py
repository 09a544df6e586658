"""The offline verdict: pure, and whatever is worse than a guardrail allows is not passed."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipelines.model import Guardrails
from pipelines.training.evaluation import Check, judge

RAILS = Guardrails(
    min_gain_over_baseline=0.01,
    max_loss_over_champion=0.005,
    max_slice_loss_over_champion=0.02,
    min_slice_rows=100,
    canary_margin=0.01,
)
LOSS = st.floats(0, 1)


def _by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@given(candidate=LOSS, baseline=LOSS, champion=LOSS, slice_candidate=LOSS, rows=st.integers(0, 300))
def test_each_check_passes_exactly_when_its_guardrail_holds(
    candidate: float, baseline: float, champion: float, slice_candidate: float, rows: int
) -> None:
    slices = {"carrier=AA": {"rows": rows, "candidate": slice_candidate, "champion": champion}}
    checks = _by_name(judge({"candidate": candidate, "baseline": baseline, "champion": champion}, slices, RAILS))
    assert checks["beats_baseline"].passed == (baseline - candidate >= 0.01)
    assert checks["not_worse_than_champion"].passed == (candidate - champion <= 0.005)
    worse = rows >= 100 and slice_candidate - champion > 0.02
    assert checks["no_slice_regression"].passed == (not worse)
    assert all(check.reason for check in checks.values())


@given(baseline=LOSS, champion=LOSS)
def test_a_candidate_that_answers_no_numbers_passes_nothing(baseline: float, champion: float) -> None:
    nan = float("nan")
    slices = {
        "carrier=AA": {"rows": 500, "candidate": 0.1, "champion": 0.1},
        "carrier=UA": {"rows": 500, "candidate": nan, "champion": champion},
    }
    checks = judge({"candidate": nan, "baseline": baseline, "champion": champion}, slices, RAILS)
    assert not any(check.passed for check in checks)


def test_without_a_champion_only_the_baseline_is_to_be_beaten() -> None:
    checks = _by_name(judge({"candidate": 0.2, "baseline": 0.25}, {}, RAILS))
    assert all(check.passed for check in checks.values())
    assert "nothing to compare" in checks["no_slice_regression"].reason
    stricter = replace(RAILS, min_gain_over_baseline=0.1)
    assert not _by_name(judge({"candidate": 0.2, "baseline": 0.25}, {}, stricter))["beats_baseline"].passed
