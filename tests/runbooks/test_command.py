"""`spotforge runbook` as a person and as a program use it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import runbook as command
from runbooks import catalog
from runbooks.model import Diagnosis, Finding, Step, Verdict
from runbooks.serving_errors import diagnose, mitigate
from stacks.errors import UserError
from tests.runbooks.test_judge import OUTPUTS

RUNBOOK = catalog.get("serving-errors")


def test_the_list_names_every_runbook_with_its_alert_and_page() -> None:
    done = CliRunner().invoke(command.app, ["list", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == [
        {
            "name": "serving-errors",
            "alert": "ServingErrors",
            "severity": "page",
            "page": "runbooks/serving_errors/README.md",
        }
    ]


def test_without_a_stack_it_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(command.app, ["serving-errors", "--home", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert done.exception.do.startswith("Run `spotforge up`")


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.HEALTHY, 0), (Verdict.CONFIRMED, 10), (Verdict.CANNOT_TELL, 20)])
@pytest.mark.parametrize("apply", [False, True])
def test_the_exit_code_is_the_verdict_and_only_apply_acts(
    verdict: Verdict, code: int, apply: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    acted: list[str] = []

    def act() -> str:
        acted.append("acted")
        return "it was done"

    found = Diagnosis(verdict=verdict, findings=(Finding("read", None),), next_step="go on")
    monkeypatch.setattr(diagnose, "diagnose", lambda outputs: found)
    monkeypatch.setattr(mitigate, "plan", lambda outputs, diagnosis: (Step("do it", "undo it", act),))
    assert command.carry_out(RUNBOOK, OUTPUTS, apply=apply, as_json=False) == code
    said = capsys.readouterr().out
    assert f"ServingErrors: {verdict}" in said
    assert "1. do it (undo: undo it)" in said
    assert acted == (["acted"] if apply else [])
    assert ("done: it was done" in said) == apply
    assert ("Nothing was changed" in said) != apply
