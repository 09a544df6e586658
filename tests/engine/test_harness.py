"""The harness proves itself on a tiny program: real CLI, real API server, and things that are only remembered.

What the platform's own program does on it is asserted elsewhere.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import engine, tiny
from tests.engine.fixtures import having
from tests.engine.kubernetes import Kubernetes
from tests.engine.memory import Memory
from tests.tools import build

# The first test waits for the control plane; a cold build of the tools is minutes more.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
ALL = ["first", "second", "room", "user"]


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def project(tmp_path: Path, pulumi_cli: Path, memory: Memory, kubernetes: Kubernetes) -> Iterator[engine.Project]:
    source = tiny.write(tmp_path / "source")
    with engine.project(tmp_path, "dev", {"memory": memory, "kubernetes": kubernetes}, source=source) as made:
        yield made
        made.faults.before = None
        made.destroy()
        assert kubernetes.everything() == [], "a destroyed stack leaves nothing in the API server"
        assert memory.things == {}, "a destroyed stack leaves no thing"


def names(urns: list[str]) -> list[str]:
    return [urn.rpartition("::")[2] for urn in urns]


def set_config(project: engine.Project, **values: Any) -> None:
    project.edit(lambda config: config.update({f"tiny:{key}": value for key, value in values.items()}))


def test_a_program_comes_up_as_previewed_and_then_rests(project: engine.Project, kubernetes: Kubernetes) -> None:
    preview = project.preview()
    assert preview.counts["create"] == 7, "four resources, two providers and the stack"
    assert project.faults.created == [], "a preview makes nothing"
    up = project.up()
    assert up.changes == {"create": 7}, "what was previewed was done"
    assert names(project.faults.created) == ALL, "each after the one it needs"
    assert "Namespace room" in kubernetes.everything()
    assert project.outputs() == {"address": "memory://thing-2"}
    again = project.up()
    assert again.changes == {}, "an unchanged program changes nothing"
    assert project.refresh().changes == {}, "and nobody else changed anything"


def test_provider_settings_arrive_decoded(project: engine.Project, memory: Memory) -> None:
    project.up()
    assert {"region": "nowhere", "tags": {"a": "b"}} in [
        {key: value for key, value in settings.items() if key in {"region", "tags"}} for settings in memory.settings.values()
    ]


def test_a_change_is_made_in_place(project: engine.Project, memory: Memory, kubernetes: Kubernetes) -> None:
    project.up()
    set_config(project, size=2, label="second")
    up = project.up()
    assert up.changes == {"update": 2}
    assert {(step.name, step.changed) for step in up.of("update")} == {("first", ("size",)), ("room", ("metadata",))}
    assert memory.things["thing-1"]["size"] == 2
    live = kubernetes.api.get("/api/v1/namespaces/room")
    assert live is not None
    assert live["metadata"]["labels"]["label"] == "second"


def test_a_thing_that_cannot_move_is_replaced_and_who_uses_it_follows(project: engine.Project, memory: Memory) -> None:
    project.up()
    set_config(project, place="there")
    up = project.up()
    assert up.changes == {"replace": 1, "update": 1}, "the thing is made anew, and the one that holds its address changes"
    assert [step.replaced_for for step in up.of("replace")] == [("place",)]
    assert {thing.get("place") for thing in memory.things.values()} == {"there", None}, "the old one is gone"
    assert len(memory.things) == 2


def test_drift_is_found_by_a_refresh_and_mended_by_the_next_up(
    project: engine.Project, memory: Memory, kubernetes: Kubernetes
) -> None:
    project.up()
    memory.things["thing-1"] = {"size": 9, "place": "here"}
    kubernetes.delete("kubernetes:core/v1:ServiceAccount", project.resources()[-1]["id"], {}, "by hand")
    found = project.refresh()
    assert found.changes == {"update": 1, "delete": 1}, "one thing was altered and one object is gone"
    assert project.up().changes == {"update": 1, "create": 1}
    assert memory.things["thing-1"]["size"] == 1
    assert project.refresh().changes == {}


def test_an_object_that_another_writer_took_is_a_conflict_as_it_is_for_users(
    project: engine.Project, kubernetes: Kubernetes
) -> None:
    project.up()
    kubernetes.api.request(
        "PATCH",
        "/api/v1/namespaces/room",
        {"metadata": {"labels": {"label": "theirs"}}},
        content="application/merge-patch+json",
    )
    assert project.refresh().changes == {"update": 1}
    assert any("conflict" in message for message in project.up(fails=True).errors)


def test_a_create_that_fails_once_is_made_by_the_next_up(project: engine.Project) -> None:
    project.faults.fail_create_once("second")
    failed = project.up(fails=True)
    assert [step.name for step in failed.failed] == ["second"]
    assert any("injected" in message for message in failed.errors)
    assert names(project.faults.created) == ["first"], "what needs it was not tried"
    assert project.up().changes == {"create": 3}
    assert names(project.faults.created) == ALL, "the first was not made twice"


def test_when_each_create_fails_once_every_up_gets_one_further(project: engine.Project) -> None:
    project.faults.fail_each_create_once()
    for _ in ALL:
        project.up(fails=True)
    project.up()
    assert names(project.faults.created) == ALL
    assert project.up().changes == {}


def test_an_interrupted_up_can_be_gone_on_with(project: engine.Project) -> None:
    def interrupt(call: str, urn: str) -> None:
        if call == "create" and urn.endswith("::second"):
            project.interrupt()
            # The create itself is let run to its end; the engine has heard by then.
            time.sleep(1)

    project.faults.before = interrupt
    project.up(fails=True)
    project.faults.before = None
    assert names(project.faults.created) == ["first", "second"], "what ran was recorded, what followed was not begun"
    assert not any(item for item in project.export()["deployment"].get("pending_operations") or [])
    assert project.up().changes == {"create": 2}
    assert names(project.faults.created) == ALL


def test_what_exists_is_adopted_and_protected(project: engine.Project, kubernetes: Kubernetes) -> None:
    project.up()
    kubernetes.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "found", "labels": {"a": "b"}}})
    provider = f"kubernetes={project.urn('kubernetes')}"
    adopted = project.import_("kubernetes:core/v1:Namespace", "found", "found", options=("--provider", provider))
    assert adopted.changes == {"import": 1}
    assert any("protect" in message for message in project.destroy(fails=True).errors), "it is protected"
    project.run("state", "unprotect", "--yes", "--stack", "dev", project.urn("found"))


def test_a_violated_policy_stops_the_preview(project: engine.Project) -> None:
    assert project.preview(policy=True).violations == ()
    set_config(project, size=6)
    stopped = project.preview(policy=True, fails=True)
    assert [(item.policy, item.level, item.urn.rpartition("::")[2]) for item in stopped.violations] == [
        ("small", "mandatory", "first")
    ]
    assert "make it 5 at most" in stopped.violations[0].message


def test_an_input_that_is_not_known_is_refused_before_anything_is_made(project: engine.Project) -> None:
    program = project.folder / "program.py"
    program.write_text(program.read_text().replace("size=1", "size=1, colour='red'"))
    refused = project.preview(fails=True)
    assert any("no such input" in message for message in refused.errors)
    assert project.faults.calls == []


def test_a_missing_tool_fails_in_ci_and_skips_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise build.Missing("etcd is not on PATH")

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="etcd"):
        having(missing)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="etcd"):
        having(missing)
