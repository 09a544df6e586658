"""The log of decisions on a real store: one decision a delivery, however often and by however many it is written."""

import threading

import pytest

from pipelines.monitoring import decisions
from pipelines.monitoring.retraining import Decision
from pipelines.monitoring.triage import Cause
from pipelines.objects import Objects


def decision(partition: str, action: str = "none", cause: str = Cause.HEALTHY) -> Decision:
    return Decision(action, cause, (f"{action} for {cause}",), ("2013-01", "2013-02") if action != "none" else (), partition)


def test_a_decision_is_read_as_it_was_written_oldest_first(ledger_bucket: Objects) -> None:
    assert decisions.read(ledger_bucket) == []
    written = [
        decisions.append(ledger_bucket, one, delivery=1)
        for one in (decision("2013-01", "baseline", "no_release"), decision("2013-02", "retrain", Cause.CONCEPT_DRIFT))
    ]
    assert decisions.read(ledger_bucket) == written
    assert [one["id"] for one in written] == ["00000000", "00000001"]
    assert written[1]["cause"] == "concept_drift", "as a word, whatever class it had"
    assert written[1]["partitions"] == ["2013-01", "2013-02"]
    assert written[1]["reasons"] == ["retrain for concept_drift"]
    assert written[1]["when"] > written[0]["when"]


def test_a_retried_step_finds_its_first_decision_even_if_it_would_decide_otherwise_now(ledger_bucket: Objects) -> None:
    first = decisions.append(ledger_bucket, decision("2013-04", "retrain", Cause.CONCEPT_DRIFT), delivery=1)
    again = decisions.append(ledger_bucket, decision("2013-04"), delivery=1)
    assert again == first, "a training that was started is not undone by a second run of the step"
    other = decisions.append(ledger_bucket, decision("2013-04"), delivery=2)
    assert other["id"] != first["id"], "a corrected delivery is decided on anew"
    assert len(decisions.read(ledger_bucket)) == 2


def test_of_writers_at_once_each_month_has_one_decision_and_none_is_lost(
    ledger_bucket: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six writers read the same log and then write: two for each of three months."""
    read, gate, gated = decisions.read, threading.Barrier(6), threading.local()

    def together(objects: Objects) -> list[dict[str, object]]:
        known = read(objects)
        if not getattr(gated, "passed", False):
            gated.passed = True
            gate.wait()
        return known

    monkeypatch.setattr(decisions, "read", together)
    got: dict[int, dict[str, object]] = {}

    def write(number: int) -> None:
        one = decision(f"2013-0{number % 3 + 1}", "retrain" if number < 3 else "none")
        got[number] = decisions.append(ledger_bucket, one, delivery=1)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = read(ledger_bucket)
    assert sorted(one["partition"] for one in known) == ["2013-01", "2013-02", "2013-03"]
    assert [one["id"] for one in known] == [f"{number:08d}" for number in range(3)], "numbers without gaps"
    assert all(got[number] == got[number + 3] for number in range(3)), "both writers of a month are told the same decision"
    assert max(ledger_bucket.versions(decisions.PREFIX).values()) == 1, "nothing was overwritten"


def test_a_gap_in_the_log_does_not_stop_it(ledger_bucket: Objects) -> None:
    for month in ("2013-01", "2013-02", "2013-03"):
        decisions.append(ledger_bucket, decision(month), delivery=1)
    ledger_bucket.delete(f"{decisions.PREFIX}00000001.json")
    assert decisions.append(ledger_bucket, decision("2013-04"), delivery=1)["id"] == "00000003"


def test_the_last_training_is_the_month_that_last_started_a_model() -> None:
    def log(*actions: str) -> list[dict[str, str]]:
        months = enumerate(actions, 1)
        return [{"id": f"{month:08d}", "partition": f"2013-{month:02d}", "action": action} for month, action in months]

    assert decisions.last_training([]) is None
    assert decisions.last_training(log("baseline", "none")) is None, "the baseline is no training"
    assert decisions.last_training(log("baseline", "none", "train", "none")) == "2013-03"
    known = log("baseline", "train", "none", "retrain", "none")
    assert decisions.last_training(known) == "2013-04"
    assert decisions.last_training(known, {"00000001", "00000002"}) == "2013-02", "of those whose releases served"
    assert decisions.last_training(known, {"00000001"}) is None


def test_a_month_is_faulty_until_a_corrected_delivery_is_not() -> None:
    def log(*entries: tuple[str, str]) -> list[dict[str, str]]:
        return [{"partition": partition, "cause": cause} for partition, cause in entries]

    first = log(("2013-02", "healthy"), ("2013-05", "data_quality"), ("2013-04", "data_quality"))
    assert decisions.faulty(first) == ("2013-04", "2013-05")
    assert decisions.faulty(first + log(("2013-05", "healthy"))) == ("2013-04",)
    assert decisions.faulty(first + log(("2013-02", "data_quality"))) == ("2013-02", "2013-04", "2013-05")
