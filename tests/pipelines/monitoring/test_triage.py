"""One cause a month: a faulty feed before all else, then what the outcomes say, then what the inputs say."""

import itertools
import json
from dataclasses import asdict

import pytest

from pipelines.monitoring import records
from pipelines.monitoring.triage import REMEDIES, Cause, judge
from tests.pipelines.monitoring.verdicts import concept, finding, performance

MOVED = ("temp", "dewp")


@pytest.mark.parametrize(
    ("cause", "faulty", "enough", "changed", "worse", "moved"),
    [
        (Cause.HEALTHY, False, True, False, False, ()),
        (Cause.HEALTHY, False, True, False, False, None),
        (Cause.DATA_DRIFT, False, True, False, False, MOVED),
        (Cause.DATA_DRIFT_WITH_LOSS, False, True, False, True, MOVED),
        (Cause.LOSS_UNEXPLAINED, False, True, False, True, ()),
        (Cause.LOSS_UNEXPLAINED, False, True, False, True, None),
        (Cause.CONCEPT_DRIFT, False, True, True, False, ()),
        (Cause.CONCEPT_DRIFT, False, True, True, True, MOVED),
        (Cause.NOT_ENOUGH_LABELS, False, False, False, False, MOVED),
        (Cause.DATA_QUALITY, True, True, True, True, MOVED),
        (Cause.DATA_QUALITY, True, False, False, False, ()),
    ],
)
def test_the_cause_of_a_month(
    cause: Cause, faulty: bool, enough: bool, changed: bool, worse: bool, moved: tuple[str, ...] | None
) -> None:
    verdict = judge(
        [finding()] if faulty else [],
        moved,
        performance(enough=enough, worse=worse),
        concept(decided=enough, changed=changed),
    )
    assert verdict.cause is cause
    assert verdict.remedy == REMEDIES[cause]
    assert all(verdict.reasons)


def test_every_cause_has_a_remedy_and_is_reached_and_a_fault_outranks_all() -> None:
    assert set(REMEDIES) == set(Cause)
    reached = set()
    for faulty, enough, decided, changed, worse, moved in itertools.product([False, True], repeat=6):
        verdict = judge(
            [finding()] if faulty else [],
            MOVED if moved else (),
            performance(enough=enough, worse=worse),
            concept(decided=decided, changed=changed),
        )
        reached.add(verdict.cause)
        assert (verdict.cause is Cause.DATA_QUALITY) == faulty, "a fault makes every other number lie"
        if not (enough and decided):
            assert verdict.cause in {Cause.DATA_QUALITY, Cause.NOT_ENOUGH_LABELS}, "never healthy without outcomes"
    assert reached == set(Cause)


def test_the_reasons_name_what_was_seen() -> None:
    faults = judge([finding(name) for name in "abcde"], MOVED, performance(), concept())
    assert faults.reasons == tuple(finding(name).text for name in "abc"), "the first three faults, in their own words"
    many = judge([], ("a", "b", "c", "d", "e"), performance(), concept())
    assert many.reasons[0] == "inputs moved: a, b, c, d …"
    assert judge([], MOVED, performance(), concept()).reasons[0] == "inputs moved: temp, dewp"
    assert judge([], (), performance(), concept()).reasons[-1] == "inputs as before"
    assert judge([], None, performance(), concept()).reasons[-1] == "too few days to compare the inputs", "not: as before"
    waits = judge([], (), performance(enough=False), concept(decided=False))
    assert waits.reasons[0] == "200 outcomes of 3,000 answers"
    assert judge([], (), performance(), concept(decided=False)).reasons[0] == "200 outcomes on 30 days"


def test_records_come_back_from_json_as_what_they_were() -> None:
    """As the assets write them and the next ones read them."""

    def through(record: dict[str, object]) -> dict[str, object]:
        back: dict[str, object] = json.loads(json.dumps(record, default=str))
        return back

    found = [finding(), finding("dewp")]
    assert records.findings(through({"findings": [asdict(one) for one in found]})) == found
    for enough in (True, False):
        loss = performance(enough=enough, worse=enough)
        assert records.performance(through({**asdict(loss), "answers": loss.served, "served": True})) == loss
    for outcome in (concept(), concept(changed=True), concept(decided=False)):
        assert records.concept(through({"served": True, **asdict(outcome)})) == outcome
    for cause in Cause:
        verdict = judge([finding()], MOVED, performance(), concept())
        record = {"served": True, **asdict(verdict), "cause": cause}
        back = records.triage(through(record))
        assert back is not None
        assert back.cause is cause, "a cause, not a string that looks like one"
        assert back.reasons == verdict.reasons
    assert records.triage({"served": False, "cause": "not_served", "reasons": ["nobody asked"]}) is None
