"""Finds the runbooks: every folder here that has an alert.py. Derives from it what must not be typed twice.

Imports only alert.py of each folder, so that infra can build rules and roles without the platform's code.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooks.model import Access, Alert
from stacks.errors import UserError
from stacks.refusal import meant, sentence

FOLDER = Path(__file__).resolve().parent
HEADINGS = ("Meaning", "Impact", "Diagnose", "Mitigate", "Verify", "Escalate", "Prevent", "Drill")
"""Of every runbook's page, exact and in this order."""


@dataclass(frozen=True)
class Runbook:
    """One folder. Its name on the command line is the folder's, with dashes."""

    package: str
    alert: Alert
    needs: Access

    @property
    def name(self) -> str:
        return self.package.replace("_", "-")

    @property
    def page(self) -> Path:
        return FOLDER / self.package / "README.md"

    @property
    def link(self) -> str:
        """The page's path in the repository; the alert carries it."""
        return f"runbooks/{self.package}/README.md"

    @property
    def command(self) -> str:
        return f"spotforge runbook {self.name}"


def find() -> tuple[Runbook, ...]:
    """Every runbook, by name."""
    packages = sorted(path.parent.name for path in FOLDER.glob("*/alert.py"))
    return tuple(_load(package) for package in packages)


def get(name: str) -> Runbook:
    """Raises UserError when there is none of that name."""
    found = {runbook.name: runbook for runbook in find()}
    if name not in found:
        raise UserError(f"there is no runbook {name!r}", sentence(meant(name, found)))
    return found[name]


def rule(runbook: Runbook, repository: str = "") -> dict[str, Any]:
    """The alert as an entry of a Prometheus rule group. `repository` is put before the link to the page."""
    alert = runbook.alert
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.hold,
        "labels": {"severity": alert.severity, "runbook": runbook.name},
        "annotations": {
            "summary": alert.summary,
            "description": f"Normal: {alert.normal} Run: {runbook.command}",
            "runbook_url": f"{repository}{runbook.link}",
        },
    }


def block(runbook: Runbook) -> str:
    """The part of the page that is generated from alert.py."""
    alert = runbook.alert
    rows = {
        "alert": f"`{alert.name}`, {alert.severity}, after {alert.hold}",
        "rule": f"`{alert.expr}`",
        "why this threshold": alert.threshold,
        "normal": alert.normal,
        "false positive": alert.false_positive,
        "read beside it": ", ".join(alert.pairs_with) or "nothing",
        "reads": ", ".join(runbook.needs.read),
        "changes, with --apply": ", ".join(runbook.needs.write) or "nothing",
    }
    return "| | |\n| --- | --- |\n" + "".join(f"| {key} | {value} |\n" for key, value in rows.items())


def _load(package: str) -> Runbook:
    module = importlib.import_module(f"runbooks.{package}.alert")
    return Runbook(package, module.ALERT, module.NEEDS)
