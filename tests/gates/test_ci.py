"""The CI templates and hooks: pinned, without permissions they did not ask for, and calling only what exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gates.files import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RECIPES = set(re.findall(r"^([\w-]+)[^\n:=]*:(?!=)", (ROOT / "justfile").read_text(), re.MULTILINE))
TEMPLATES = [*WORKFLOWS, ROOT / ".gitlab-ci.yml", ROOT / ".pre-commit-config.yaml"]


def load(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_says_which_version_it_is(path: Path) -> None:
    used = re.findall(r"uses: *(.*)$", path.read_text(), re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), f"{action} is not pinned"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_job_has_a_permission_that_it_did_not_ask_for(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert set(job["permissions"].values()) <= {"read"}, f"{name} may write"
        assert job["timeout-minutes"], f"{name} may hang for six hours"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_recipe_that_is_called_exists(path: Path) -> None:
    called = set(re.findall(r"uv run just ([\w-]+)", path.read_text()))
    assert called
    assert called <= RECIPES, f"{path.name} calls {called - RECIPES}"


def test_the_hooks_are_the_gate_and_nothing_else() -> None:
    (check,) = re.findall(r"^check: *(.*)$", (ROOT / "justfile").read_text(), re.MULTILINE)
    hooks = [hook for repository in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert [hook["entry"].removeprefix("uv run just ") for hook in hooks] == check.split()


def test_both_hosts_run_the_same() -> None:
    def runs(text: str) -> set[str]:
        return set(re.findall(r"uv run .*", text))

    assert runs((ROOT / ".github/workflows/ci.yml").read_text()) == runs((ROOT / ".gitlab-ci.yml").read_text())
