"""The governor of retraining: which cause trains, on which months, and everything that holds it back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.monitoring.retraining import RETRAIN, WINDOW, Situation, decide
from pipelines.monitoring.triage import REMEDIES, Cause
from tests.pipelines.monitoring.verdicts import triage

MONTHS = tuple(f"2013-{month:02d}" for month in range(1, 8))
SERVING = Situation(
    partition="2013-07",
    months=MONTHS,
    min_months=3,
    released=2,
    in_flight=None,
    baseline_asked=True,
    last_training="2013-03",
    last_promoted="2013-03",
)
BASELINE_ONLY = replace(SERVING, released=1, last_training=None, last_promoted=None)


def trained(month: str | None, *, promoted: bool = True) -> Situation:
    return replace(SERVING, last_training=month, last_promoted=month if promoted else SERVING.last_promoted)


@pytest.mark.parametrize("cause", Cause)
def test_only_a_changed_world_and_a_loss_that_moved_inputs_explain_retrain(cause: Cause) -> None:
    decision = decide(triage(cause), SERVING)
    if cause in {Cause.CONCEPT_DRIFT, Cause.DATA_DRIFT_WITH_LOSS}:
        assert decision.action == "retrain"
        assert decision.partitions == MONTHS, "every month there is, up to a year"
        assert decision.reasons == ("because", REMEDIES[cause])
    else:
        assert decision.action == "none"
        assert decision.partitions == ()
        assert decision.reasons == (REMEDIES[cause],)
    assert (decision.cause, decision.partition) == (cause, "2013-07")


@pytest.mark.parametrize(
    ("cause", "situation", "action", "why"),
    [
        (
            None,
            replace(SERVING, released=0, baseline_asked=False, last_training=None),
            "baseline",
            "the baseline holds the place",
        ),
        (None, replace(SERVING, released=0, last_training=None), "none", "the baseline is on its way"),
        (None, SERVING, "none", "nothing was served in this month"),
        (None, BASELINE_ONLY, "train", "3 months are there: time for a model"),
        (Cause.HEALTHY, BASELINE_ONLY, "train", "3 months are there: time for a model"),
        (Cause.NOT_ENOUGH_LABELS, BASELINE_ONLY, "train", "3 months are there: time for a model"),
        (Cause.DATA_QUALITY, BASELINE_ONLY, "none", REMEDIES[Cause.DATA_QUALITY]),
        (
            Cause.HEALTHY,
            replace(BASELINE_ONLY, months=MONTHS[:2], partition="2013-02"),
            "none",
            "2 of 3 months to learn from are there",
        ),
        (Cause.CONCEPT_DRIFT, replace(SERVING, in_flight="r0003-ab"), "none", "release r0003-ab is in flight; one at a time"),
        (
            None,
            replace(SERVING, released=0, baseline_asked=False, in_flight="r0001-ab"),
            "none",
            "release r0001-ab is in flight",
        ),
        (Cause.CONCEPT_DRIFT, trained("2013-07"), "none", "a training that was decided on 2013-07 has seen as much"),
        (Cause.CONCEPT_DRIFT, trained("2013-06"), "none", "cooldown: the model in production was decided on in 2013-06"),
        (Cause.CONCEPT_DRIFT, trained("2013-05"), "retrain", "because"),
        (Cause.CONCEPT_DRIFT, trained(None), "retrain", "because"),
        # A model that stopped at a gate or in canary never served: the world is still as the old one does not know it.
        (Cause.CONCEPT_DRIFT, trained("2013-06", promoted=False), "retrain", "because"),
        (Cause.HEALTHY, replace(BASELINE_ONLY, last_training="2013-06"), "train", "time for a model"),
        # A correction of an old month, delivered late: what was decided since has seen more.
        (
            Cause.CONCEPT_DRIFT,
            replace(trained("2013-06"), partition="2013-04", months=MONTHS[:4]),
            "none",
            "a training that was decided on 2013-06 has seen as much",
        ),
        (Cause.CONCEPT_DRIFT, replace(SERVING, faulty=MONTHS[:6]), "none", "1 of 3 months to learn from are there"),
    ],
)
def test_what_is_done_and_why(cause: Cause | None, situation: Situation, action: str, why: str) -> None:
    decision = decide(triage(cause) if cause else None, situation)
    assert decision.action == action
    assert why in decision.reasons[0]


def test_months_with_a_faulty_feed_are_left_out_of_the_window_and_named() -> None:
    decision = decide(triage(Cause.CONCEPT_DRIFT), replace(SERVING, faulty=("2013-01", "2013-05")))
    assert decision.partitions == ("2013-02", "2013-03", "2013-04", "2013-06", "2013-07")
    assert decision.reasons[-1] == "left out, their feed was faulty: 2013-05", (
        "of the months since the first that is learned from"
    )


def test_no_more_than_a_year_is_learned_from_and_a_fault_does_not_shorten_it() -> None:
    months = tuple(f"{year}-{month:02d}" for year in (2011, 2012) for month in range(1, 13))
    situation = replace(SERVING, partition=months[-1], months=months, last_training=None, last_promoted=None)
    assert decide(triage(Cause.CONCEPT_DRIFT), situation).partitions == months[-WINDOW:]
    faulty = decide(triage(Cause.CONCEPT_DRIFT), replace(situation, faulty=("2012-06",))).partitions
    assert faulty == tuple(month for month in months[-WINDOW - 1 :] if month != "2012-06")


def test_a_first_model_waits_for_as_many_months_without_a_fault() -> None:
    third = replace(BASELINE_ONLY, partition="2013-03", months=MONTHS[:3], faulty=("2013-02",))
    assert decide(triage(Cause.HEALTHY), third).action == "none"
    fourth = replace(third, partition="2013-04", months=MONTHS[:4])
    assert decide(triage(Cause.HEALTHY), fourth).partitions == ("2013-01", "2013-03", "2013-04")


def test_a_month_that_was_delivered_anew_and_is_sound_now_is_learned_from() -> None:
    decision = decide(triage(Cause.CONCEPT_DRIFT), replace(SERVING, faulty=("2013-07",)))
    assert decision.partitions == MONTHS, "today's verdict overrules the one on the first delivery"


@given(
    cause=st.sampled_from([None, *Cause]),
    partition=st.sampled_from(MONTHS),
    released=st.integers(0, 3),
    in_flight=st.sampled_from([None, "r0009-ff"]),
    baseline_asked=st.booleans(),
    last=st.sampled_from([None, *MONTHS]),
    promoted=st.sampled_from([None, *MONTHS]),
    faulty=st.lists(st.sampled_from(MONTHS), unique=True).map(tuple),
)
def test_whatever_the_situation_the_governor_keeps_its_promises(
    cause: Cause | None,
    partition: str,
    released: int,
    in_flight: str | None,
    baseline_asked: bool,
    last: str | None,
    promoted: str | None,
    faulty: tuple[str, ...],
) -> None:
    months = tuple(month for month in MONTHS if month <= partition)
    decision = decide(
        triage(cause) if cause else None,
        Situation(partition, months, 3, released, in_flight, baseline_asked, last, promoted, faulty),
    )
    assert decision.partition == partition
    assert all(decision.reasons), "no decision without a reason"
    if decision.action == "none":
        assert decision.partitions == ()
        return
    assert in_flight is None, "one release at a time"
    assert decision.partitions == tuple(sorted(decision.partitions))
    assert set(decision.partitions) <= set(months), "nothing later than the month is learned from"
    assert not (set(decision.partitions) - {partition}) & set(faulty), "no month with a fault is learned from"
    assert len(decision.partitions) <= WINDOW
    if decision.action == "baseline":
        assert not released
        assert not baseline_asked
        return
    assert len(decision.partitions) >= 3
    assert cause is not Cause.DATA_QUALITY, "no training in a month with a data fault"
    assert last is None or last < partition, "never on older knowledge than the last training had"
    if released > 1:
        assert cause in RETRAIN
