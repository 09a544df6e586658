"""`spotforge release` on a real store: what it shows, as text and as JSON. What it changes is in `test_release_changes`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import main
from pipelines.release.ledger import Ledger
from pipelines.release.record import Stage, key_of
from stacks.local.ports import free_port
from stacks.outputs import StackOutputs
from tests.cli import releases
from tests.cli.shell import refusal, refused, spotforge


def _json(home: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(main.app, ["release", *arguments, "--json", "--home", str(home)])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def _text(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(main.app, ["release", *arguments, "--home", str(home)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.exception
    return done.stdout


def test_list_shows_every_release_where_it_stands(home: Path, ledger: Ledger) -> None:
    first = releases.make(ledger, 1, releases.FIRST_WAY)
    second = releases.make(ledger, 2, releases.TO_PRODUCTION)
    third = releases.make(ledger, 3, releases.TO_CANARY)
    rows = {row["release"]: row for row in _json(home, "list")}
    assert list(rows) == [first, second, third]
    assert [row["stage"] for row in rows.values()] == ["retired", "production", "canary"]
    assert [row["weight"] for row in rows.values()] == [None, None, 25]
    assert [name for name, row in rows.items() if row["serves"]] == [second]
    assert [name for name, row in rows.items() if row["rollback_target"]] == [first]
    assert rows[third]["model"] == "flights 3"
    lines = {name: line for line in _text(home, "list").splitlines() for name in rows if name in line}
    assert "●" in lines[second]
    assert "↩" in lines[first]
    assert "canary 25 %" in lines[third]


def test_list_of_an_empty_ledger_is_an_empty_list(home: Path) -> None:
    assert _json(home, "list") == []
    assert "release" in _text(home, "list")


def test_a_row_is_one_line_where_no_terminal_is(home: Path, ledger: Ledger) -> None:
    """As `spotforge release list | grep production` needs it."""
    why = "the inputs moved and the loss rose with them, so the newest months were taken into the window"
    identity = releases.make(ledger, 1, releases.FIRST_WAY, why=why)
    done = spotforge("release", "list", "--home", home)
    assert any(identity in line and "production" in line and why in line for line in done.stdout.splitlines()), done.stdout


def test_what_people_wrote_is_shown_as_it_is(home: Path, ledger: Ledger) -> None:
    why = "see [/ticket] [bold]JFK[/bold] :boom:"
    releases.make(ledger, 1, releases.FIRST_WAY, why=why)
    assert why in _text(home, "list")
    assert why in _text(home, "show", "1")


def test_show_tells_what_a_release_is_made_of_and_its_way(home: Path, ledger: Ledger) -> None:
    first = releases.make(ledger, 1, releases.FIRST_WAY)
    second = releases.make(ledger, 2, releases.TO_PRODUCTION)
    ledger.append(second, Stage.ROLLED_BACK, from_=Stage.PRODUCTION, who="operator", why="complaints", restores=first)
    shown = _json(home, "show", "2")
    assert shown["release"]["id"] == second
    assert shown["release"]["model"]["version"] == "2"
    assert [move["to"] for move in shown["records"]][-2:] == ["production", "rolled_back"]
    assert [move["to"] for move in _json(home, "show", first)["records"]][-1] == "rolled_back", "what put it back is of its way"
    text = _text(home, "show", "2")
    for word in (second, "image sha256:feed", "flights 2", "features v3", "canary 25 %", f"complaints ({first} serves again)"):
        assert word in text


@pytest.mark.parametrize("name", ["2", "02", "r2", "r0002", None])
def test_a_release_is_found_by_its_number_as_people_write_it(home: Path, ledger: Ledger, name: str | None) -> None:
    releases.make(ledger, 1, releases.FIRST_WAY)
    second = releases.make(ledger, 2)
    assert _json(home, "show", name or second)["release"]["id"] == second


@pytest.mark.parametrize("name", ["7", "0", "r", "", "r0001-00000000", "latest"])
def test_a_release_that_is_not_there_is_said_with_the_command_that_lists_them(home: Path, ledger: Ledger, name: str) -> None:
    releases.make(ledger, 1, releases.FIRST_WAY)
    assert refused("release", "show", name, "--home", home) == f"there is no release {name!r}. See `spotforge release list`."


def test_history_is_the_ledger_oldest_first(home: Path, ledger: Ledger) -> None:
    first = releases.make(ledger, 1, releases.FIRST_WAY)
    second = releases.make(ledger, 2, releases.TO_SHADOW)
    assert [(move["seq"], move["release"]) for move in _json(home, "history")] == [
        *((number, first) for number in range(3)),
        *((number, second) for number in range(3, 6)),
    ]
    assert {move["release"] for move in _json(home, "history", "2")} == {second}
    assert "- → candidate" in _text(home, "history")


def test_history_at_a_moment_says_what_served_then_as_the_ledger_prints_moments(home: Path, ledger: Ledger) -> None:
    first = releases.make(ledger, 1, releases.FIRST_WAY)
    second = releases.make(ledger, 2, releases.TO_CANARY)
    records = ledger.records()
    served, canary = records[2].when, records[-1].when
    # Without an offset, as the tables print it, a moment is UTC: on a machine in another zone, too.
    naive = served.replace(tzinfo=None).isoformat()
    done = spotforge("release", "history", "--at", naive, "--json", "--home", home, TZ="America/New_York")
    assert json.loads(done.stdout) == {"at": served.isoformat(), "serving": {first: 100}}
    assert _json(home, "history", "--at", canary.isoformat())["serving"] == {first: 75, second: 25}
    assert _json(home, "history", "--at", "2013-01-01")["serving"] == {}
    assert _text(home, "history", "--at", "2013-01-01T02:00+02:00") == "2013-01-01T00:00:00+00:00: nothing\n"


def test_a_moment_that_is_none_is_refused_with_an_example(home: Path) -> None:
    done = CliRunner().invoke(main.app, ["release", "history", "--at", "yesterday", "--home", str(home)])
    assert done.exit_code == 2
    assert "2026-01-31T12:00" in done.stderr


def test_the_moments_in_tables_are_utc_and_say_so(home: Path, ledger: Ledger) -> None:
    releases.make(ledger, 1, releases.FIRST_WAY)
    done = spotforge("release", "history", "--home", home, TZ="America/New_York")
    assert f"{ledger.records()[0].when:%Y-%m-%d %H:%M:%S}" in done.stdout
    assert "when (UTC)" in done.stdout


def test_verify_tells_that_the_ledger_holds(home: Path, ledger: Ledger) -> None:
    releases.make(ledger, 1, releases.FIRST_WAY)
    assert _json(home, "verify")["problems"] == []
    assert _text(home, "verify").endswith("they hold\n")


def test_verify_exits_4_and_names_what_was_tampered_with(home: Path, ledger: Ledger) -> None:
    releases.make(ledger, 1, releases.FIRST_WAY)
    key = "ledger/00000001.json"
    ledger.objects.put(key, ledger.objects.get(key).replace(b"a month has passed", b"nothing to see"))
    done = spotforge("release", "verify", "--json", "--home", home)
    assert done.returncode == 4
    problems = json.loads(done.stdout)["problems"]
    assert "the release ledger is broken: record 2 does not follow record 1" in problems
    assert any(key in problem and "overwritten" in problem for problem in problems)
    shown = spotforge("release", "verify", "--home", home)
    assert shown.returncode == 4
    assert "they do NOT hold" in shown.stdout
    assert all(f"✗ {problem}" in shown.stdout for problem in problems)
    assert "Run `spotforge release verify`" in refused("release", "list", "--home", home)


def test_another_stacks_outputs_can_be_named(outputs: StackOutputs, ledger: Ledger, tmp_path: Path) -> None:
    identity = releases.make(ledger, 1, releases.FIRST_WAY)
    file = tmp_path / "staging.json"
    file.write_text(outputs.to_json())
    arguments = ["release", "list", "--json", "--outputs", str(file), "--home", str(tmp_path / "none")]
    done = CliRunner().invoke(main.app, arguments)
    assert [row["release"] for row in json.loads(done.stdout)] == [identity]


def test_a_record_that_is_gone_is_said(home: Path, ledger: Ledger) -> None:
    identity = releases.make(ledger, 1, releases.FIRST_WAY)
    ledger.objects.delete(key_of(identity))
    assert f"there is no release {identity!r}" in refused("release", "show", "1", "--home", home)


@pytest.mark.parametrize("command", [("list",), ("verify", "--json"), ("rollback",)])
def test_a_store_that_cannot_be_reached_is_one_line(outputs: StackOutputs, home: Path, command: tuple[str, ...]) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    store = outputs.object_store.model_copy(update={"endpoint": endpoint})
    (home / "outputs.json").write_text(outputs.model_copy(update={"object_store": store}).to_json())
    said = refusal(spotforge("release", *command, "--home", home))
    assert said == (
        f"spotforge: object store {endpoint} cannot be reached (EndpointConnectionError). "
        "Run `spotforge status`, then `spotforge up`."
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "no such outputs file. Run `spotforge up`, or correct the path."),
        ("{", "the file: Invalid JSON"),
        ('{"stack": "local"}', "platform: Field required. Write it anew with `spotforge up`."),
    ],
    ids=["absent", "torn", "not whole"],
)
def test_outputs_that_cannot_be_read_are_named(tmp_path: Path, body: str | None, said: str) -> None:
    file = tmp_path / "outputs.json"
    if body:
        file.write_text(body)
    found = refused("release", "list", "--outputs", file)
    assert str(file) in found
    assert said in found


def test_credentials_that_are_gone_are_named(outputs: StackOutputs, home: Path) -> None:
    store = outputs.object_store.model_copy(update={"credentials_file": home / "credentials"})
    (home / "outputs.json").write_text(outputs.model_copy(update={"object_store": store}).to_json())
    assert f"{home / 'credentials'}: no credentials" in refused("release", "list", "--home", home)
