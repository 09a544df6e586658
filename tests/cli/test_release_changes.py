"""`spotforge release rollback` and `reject` on a real store: one ledger record each, and a word on what follows from it."""

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import main
from pipelines.release.ledger import Ledger
from pipelines.release.record import Stage
from tests.cli import releases
from tests.cli.shell import refusal, refused, spotforge


@pytest.fixture
def two(ledger: Ledger) -> tuple[str, str]:
    """The second release serves, the first one did."""
    return releases.make(ledger, 1, releases.FIRST_WAY), releases.make(ledger, 2, releases.TO_PRODUCTION)


def _do(home: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(main.app, ["release", *arguments, "--json", "--home", str(home)])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_a_rollback_puts_back_the_one_before_and_says_who_and_why(home: Path, ledger: Ledger, two: tuple[str, str]) -> None:
    first, second = two
    done = _do(home, "rollback", "--reason", "complaints from JFK")
    record = ledger.records()[-1]
    assert done == {"record": record.seq, "rolled_back": second, "serving": {first: 100}, "controller_acts": False}
    assert (record.release, record.to, record.restores) == (second, Stage.ROLLED_BACK, first)
    assert (record.who, record.why) == (f"operator {getpass.getuser()}", "complaints from JFK")
    assert ledger.production() == first
    assert ledger.verify().problems == (), "an operator's record is signed like any other"


def test_in_a_canary_the_canary_is_taken_out_and_production_stays(home: Path, ledger: Ledger, two: tuple[str, str]) -> None:
    third = releases.make(ledger, 3, releases.TO_CANARY)
    assert _do(home, "rollback")["rolled_back"] == third
    assert ledger.state(third) is Stage.ROLLED_BACK
    assert ledger.production() == two[1]


def test_a_release_in_shadow_answers_nobody_so_production_is_rolled_back(
    home: Path, ledger: Ledger, two: tuple[str, str]
) -> None:
    third = releases.make(ledger, 3, releases.TO_SHADOW)
    assert _do(home, "rollback")["rolled_back"] == two[1]
    assert ledger.state(third) is Stage.SHADOW


def test_an_older_release_is_put_back_by_its_number(home: Path, ledger: Ledger, two: tuple[str, str]) -> None:
    third = releases.make(ledger, 3, releases.TO_PRODUCTION)
    assert _do(home, "rollback", "--to", "1") == {
        "record": len(ledger.records()) - 1,
        "rolled_back": third,
        "serving": {two[0]: 100},
        "controller_acts": False,
    }


def test_a_canary_that_ends_when_production_goes_back_is_said(home: Path, ledger: Ledger, two: tuple[str, str]) -> None:
    third = releases.make(ledger, 3, releases.TO_CANARY)
    (home / "controller.json").touch()
    done = CliRunner().invoke(main.app, ["release", "rollback", "--to", "1", "--home", str(home)])
    assert f"{two[1]} is rolled_back. {two[0]} takes all callers within a second.\n" in done.stdout
    assert done.stdout.endswith(f"The canary {third} ends with it: it was being compared with {two[1]}.\n")
    assert _do(home, "rollback")["serving"] == {two[0]: 100}


def test_a_rollback_for_people_says_when_callers_will_notice(home: Path, ledger: Ledger, two: tuple[str, str]) -> None:
    first, second = two
    dead = CliRunner().invoke(main.app, ["release", "rollback", "--home", str(home)])
    assert dead.exit_code == 0, "the record stands, whoever acts on it"
    assert dead.stdout.endswith(
        f"{second} is rolled_back. {first} takes all callers once the release controller runs, and it does not. "
        "Run `spotforge up`.\n"
    )
    third = releases.make(ledger, 3, releases.TO_CANARY)
    (home / "controller.json").touch()
    alive = CliRunner().invoke(main.app, ["release", "rollback", "--home", str(home)])
    assert alive.stdout.endswith(f"{third} is rolled_back. {first} takes all callers within a second.\n")


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (None, "is the only release that ever served: there is nothing to put back. See `spotforge release list`."),
        ("1", "serves already. See `spotforge release list`."),
        ("2", "cannot be put back: it serves now, or never did. See `spotforge release list`."),
        ("9", "there is no release '9'. See `spotforge release list`."),
        ("", "there is no release ''. See `spotforge release list`."),
    ],
    ids=["nothing before it", "it serves", "it never served", "unknown", "an empty shell variable"],
)
def test_a_rollback_to_nowhere_is_refused_and_writes_nothing(home: Path, ledger: Ledger, to: str | None, said: str) -> None:
    releases.make(ledger, 1, releases.FIRST_WAY)
    releases.make(ledger, 2)
    before = len(ledger.records())
    found = refused("release", "rollback", *(() if to is None else ("--to", to)), "--home", home)
    assert found.endswith(said)
    assert len(ledger.records()) == before


def test_a_rollback_of_nothing_is_refused(home: Path) -> None:
    said = refusal(spotforge("release", "rollback", "--home", home))
    assert said == "spotforge: nothing is in production. See `spotforge release list`."


@pytest.mark.parametrize("way", [(Stage.CANDIDATE,), releases.TO_SHADOW], ids=["candidate", "shadow"])
def test_a_release_that_no_caller_reaches_is_rejected(
    home: Path, ledger: Ledger, two: tuple[str, str], way: tuple[Stage, ...]
) -> None:
    third = releases.make(ledger, 3, way)
    done = _do(home, "reject", "3", "--reason", "trained on the wrong months")
    assert done == {"record": len(ledger.records()) - 1, "rejected": third}
    assert ledger.state(third) is Stage.REJECTED
    assert ledger.records()[-1].why == "trained on the wrong months"


def test_a_rejection_for_people_is_one_line(home: Path, ledger: Ledger) -> None:
    first = releases.make(ledger, 1)
    done = CliRunner().invoke(main.app, ["release", "reject", "1", "--home", str(home)])
    assert done.stdout == f"ledger record 1: {first} is rejected.\n"


def test_what_callers_reach_is_not_rejected_but_rolled_back(home: Path, ledger: Ledger, two: tuple[str, str]) -> None:
    third = releases.make(ledger, 3, releases.TO_CANARY)
    said = refused("release", "reject", "3", "--home", home)
    assert said == f"{third} answers callers. Use `spotforge release rollback`."
    assert f"{two[1]} cannot go from production to rejected" in refused("release", "reject", "2", "--home", home)
    assert ledger.state(third) is Stage.CANARY
