"""The pages: what they promise is checked, from headings to every command line in them."""

import re
import shlex
from datetime import date
from typing import Any

import pytest
import typer.main
import yaml

from cli import runbook as command
from runbooks import catalog
from tests.gates import docs

RUNBOOKS = catalog.find()
CODE = re.compile(r"```.*?```", re.DOTALL)
per_runbook = pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda runbook: runbook.name)


def front_matter(runbook: catalog.Runbook) -> dict[str, Any]:
    _, head, _ = runbook.page.read_text().split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def parses(line: str) -> None:
    """Parse a `spotforge runbook …` line with the real command, up to the point where it would run."""
    words = shlex.split(line)
    assert words[:2] == ["spotforge", "runbook"], line
    group = typer.main.get_command(command.app)
    context = group.make_context("runbook", words[2:])
    name, found, rest = group.resolve_command(context, words[2:])  # type: ignore[attr-defined]  # it is a group
    found.make_context(name, rest, parent=context)


def test_there_is_a_runbook() -> None:
    assert [runbook.name for runbook in RUNBOOKS] == ["serving-errors"]


@per_runbook
def test_the_headings_are_exact_and_in_order(runbook: catalog.Runbook) -> None:
    text = CODE.sub("", runbook.page.read_text())
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == catalog.HEADINGS
    assert re.findall(r"^# (.+)$", text, re.MULTILINE) == [runbook.alert.name]


@per_runbook
def test_the_front_matter_names_owner_stage_and_last_drill(runbook: catalog.Runbook) -> None:
    head = front_matter(runbook)
    assert set(head) == {"owner", "stage", "lastDrill"}
    assert head["owner"]
    assert head["stage"] in {"informing", "acting"}
    assert (head["stage"] == "acting") == bool(runbook.needs.write), "an acting runbook may write, an informing one may not"
    assert head["lastDrill"] is None or isinstance(head["lastDrill"], date)


@per_runbook
def test_the_generated_blocks_are_fresh(runbook: catalog.Runbook) -> None:
    text = runbook.page.read_text()
    assert f"<!-- generated: alert {runbook.name} -->" in text
    assert f"<!-- generated: sample {runbook.name} -->" in text
    assert docs.fresh(text) == text, "run `python -m tests.gates.docs --write`"


@per_runbook
def test_every_command_line_on_the_page_is_one_that_the_command_takes(runbook: catalog.Runbook) -> None:
    lines = re.findall(r"^\$ (spotforge runbook .*)$", runbook.page.read_text(), re.MULTILINE)
    assert len(lines) >= 3, "a page shows how to diagnose, to mitigate and to verify"
    for line in lines:
        parses(line)


def test_a_command_line_that_does_not_exist_would_be_noticed() -> None:
    for line in ("spotforge runbook serving-errors --aply", "spotforge runbook serving-erors"):
        with pytest.raises(Exception, match="No such"):  # typer's own copy of click has no public name for it
            parses(line)


@per_runbook
def test_the_rule_is_what_prometheus_takes_and_its_link_leads_to_the_page(runbook: catalog.Runbook) -> None:
    rule = catalog.rule(runbook, "https://example.com/repository/")
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    link = rule["annotations"]["runbook_url"].removeprefix("https://example.com/repository/")
    assert catalog.FOLDER.parent / link == runbook.page
    assert runbook.page.is_file()
    assert all(isinstance(value, str) for part in ("labels", "annotations") for value in rule[part].values())
    for opening, closing in ("()", "{}", "[]"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)


def test_a_runbook_that_does_not_exist_is_refused_with_the_next_move() -> None:
    from stacks.errors import UserError

    with pytest.raises(UserError, match="did you mean 'serving-errors'|Did you mean 'serving-errors'"):
        catalog.get("serving-error")
