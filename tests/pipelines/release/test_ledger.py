"""The ledger on a real store: chained, conditional, signed, and broken as an attacker or a crash would break it."""

import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.objects import Objects
from pipelines.release.chain import IllegalTransition
from pipelines.release.ledger import Ledger, LedgerBroken
from pipelines.release.record import Stage
from stacks.outputs import StackOutputs

PATH = (None, Stage.CANDIDATE, Stage.STAGING, Stage.SHADOW, Stage.CANARY, Stage.CANARY, Stage.PRODUCTION)


def walk(ledger: Ledger, release: str, *stages: Stage) -> None:
    before = ledger.state(release)
    for stage in stages:
        ledger.append(release, stage, from_=before, who="test", why="walk", weight=5 if stage is Stage.CANARY else None)
        before = stage


@pytest.fixture
def ledger(outputs: StackOutputs) -> Ledger:
    found = Ledger.of(outputs)
    walk(found, "r0001-aa", Stage.CANDIDATE, Stage.STAGING, Stage.PRODUCTION)
    walk(found, "r0002-bb", *[stage for stage in PATH if stage])
    return found


def test_a_fresh_reader_replays_what_was_written_and_finds_nothing_wrong(ledger: Ledger, outputs: StackOutputs) -> None:
    fresh = Ledger.of(outputs)
    assert fresh.production() == "r0002-bb"
    assert fresh.previous_production() == "r0001-aa"
    assert fresh.state("r0001-aa") is Stage.RETIRED, "a successor's record retires the one before"
    assert fresh.in_flight() is None
    assert [record.seq for record in fresh.records()] == list(range(9))
    finding = fresh.verify()
    assert finding.problems == ()
    assert finding.records == 9


def test_a_rollback_is_one_record_and_names_what_serves_again(ledger: Ledger) -> None:
    ledger.append("r0002-bb", Stage.ROLLED_BACK, from_=Stage.PRODUCTION, who="op", why="bad", restores="r0001-aa")
    assert ledger.production() == "r0001-aa"
    assert ledger.state("r0002-bb") is Stage.ROLLED_BACK
    ledger.append("r0001-aa", Stage.ROLLED_BACK, from_=Stage.PRODUCTION, who="op", why="was right", restores="r0002-bb")
    assert ledger.production() == "r0002-bb", "an operator may take a rollback back"


def test_of_two_writers_at_once_one_wins_and_the_other_is_told_why(ledger: Ledger, outputs: StackOutputs) -> None:
    ledger.append("r0003-cc", Stage.CANDIDATE, from_=None, who="test", why="new")
    told: list[str] = []
    start = threading.Barrier(6)

    def move() -> None:
        mine = Ledger.of(outputs)
        mine.records()
        start.wait()
        try:
            mine.append("r0003-cc", Stage.STAGING, from_=Stage.CANDIDATE, who="test", why="race")
        except IllegalTransition as error:
            told.append(str(error))

    threads = [threading.Thread(target=move) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["r0003-cc is staging, not candidate. See `spotforge release list`."] * 5
    assert Ledger.of(outputs).verify().problems == (), "no race may fork or tear the chain"


def test_an_unlawful_move_is_refused_and_leaves_no_record(ledger: Ledger) -> None:
    before = len(ledger.records())
    with pytest.raises(IllegalTransition, match="cannot go from nothing to production"):
        ledger.append("r0004-dd", Stage.PRODUCTION, from_=None, who="test", why="hurry")
    walk(ledger, "r0004-dd", Stage.CANDIDATE, Stage.STAGING)
    with pytest.raises(IllegalTransition, match="cannot skip shadow and canary"):
        walk(ledger, "r0004-dd", Stage.PRODUCTION)
    assert len(ledger.records()) == before + 2


def test_an_altered_record_is_found_by_its_successor(ledger: Ledger, outputs: StackOutputs, ledger_bucket: Objects) -> None:
    body = json.loads(ledger_bucket.get("ledger/00000004.json"))
    ledger_bucket.put("ledger/00000004.json", json.dumps(body | {"why": "nothing to see"}).encode())
    problems = Ledger.of(outputs).verify().problems
    assert "the release ledger is broken: record 5 does not follow record 4" in problems
    assert any("ledger/00000004.json was overwritten" in problem for problem in problems), "the bucket keeps both versions"
    with pytest.raises(LedgerBroken):
        Ledger.of(outputs).production()


def test_an_altered_last_record_is_found_by_the_signed_head(
    ledger: Ledger, outputs: StackOutputs, ledger_bucket: Objects
) -> None:
    body = json.loads(ledger_bucket.get("ledger/00000008.json"))
    ledger_bucket.put("ledger/00000008.json", json.dumps(body | {"who": "nobody"}).encode())
    assert "record 8 is not the one that was signed" in Ledger.of(outputs).verify().problems


def test_a_cut_off_tail_is_found_by_the_head_in_the_other_bucket(
    ledger: Ledger, outputs: StackOutputs, ledger_bucket: Objects
) -> None:
    ledger_bucket.delete("ledger/00000008.json")
    ledger_bucket.delete("ledger-heads/00000008.json")
    problems = Ledger.of(outputs).verify().problems
    assert "the tail is cut off: record 8 was signed and is not there" in problems


def test_a_missing_record_in_the_middle_breaks_the_chain(ledger: Ledger, outputs: StackOutputs, ledger_bucket: Objects) -> None:
    ledger_bucket.delete("ledger/00000003.json")
    with pytest.raises(LedgerBroken, match="record 3 is missing"):
        Ledger.of(outputs).records()


def test_a_forged_head_is_told_from_a_signed_one(ledger: Ledger, outputs: StackOutputs, artifacts: Objects) -> None:
    head = json.loads(artifacts.get("ledger-heads/00000008.json"))
    artifacts.put("ledger-heads/00000009.json", json.dumps(head | {"seq": 9}).encode())
    assert any("signature does not hold" in problem for problem in Ledger.of(outputs).verify().problems)


def test_the_signing_key_is_for_its_owner_only(ledger: Ledger, outputs: StackOutputs) -> None:
    assert outputs.state_dir
    key = Path(outputs.state_dir) / "keys" / "ledger.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_reader_follows_without_reading_twice(
    ledger: Ledger, ledger_bucket: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Ledger(ledger_bucket)
    follower.records()
    read: list[str] = []
    get = Objects.get

    def watched(self: Objects, key: str) -> bytes:
        read.append(key)
        return get(self, key)

    monkeypatch.setattr(Objects, "get", watched)
    ledger.append("r0005-ee", Stage.CANDIDATE, from_=None, who="test", why="new")
    read.clear()
    assert follower.state("r0005-ee") is Stage.CANDIDATE
    assert follower.in_flight() == "r0005-ee"
    assert read == ["ledger/00000009.json"]


def test_what_served_at_a_moment_is_answered_from_the_records(ledger: Ledger) -> None:
    from pipelines.release.chain import serving_at

    records = ledger.records()
    assert serving_at(records, records[0].when - timedelta(seconds=1)) == {}
    assert serving_at(records, records[2].when) == {"r0001-aa": 100}
    assert serving_at(records, records[7].when) == {"r0001-aa": 95, "r0002-bb": 5}
    assert serving_at(records, datetime.now(UTC)) == {"r0002-bb": 100}


def test_without_the_key_the_heads_are_said_to_be_unchecked_and_no_key_is_made(
    ledger: Ledger, outputs: StackOutputs, ledger_bucket: Objects
) -> None:
    assert outputs.state_dir
    key = Path(outputs.state_dir) / "keys" / "ledger.pem"
    key.unlink()
    (problem,) = Ledger.of(outputs).verify().problems
    assert problem.startswith("the signed heads cannot be checked")
    assert not key.exists(), "a key made to verify by would call every true signature false"
    (unsigned,) = Ledger(ledger_bucket).verify().problems
    assert unsigned == "the signed heads cannot be checked: this reader has no signing key"
