"""The gates themselves: each is seen to fail on what it is there for."""

import subprocess
from pathlib import Path

import pytest

from tests.gates import docs, file_length


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # noqa: S607 - git is on PATH
    (tmp_path / ".gitignore").write_text("ignored/\n")
    return tmp_path


def write(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_file_of_301_lines_fails_tracked_or_new_but_not_ignored(tree: Path) -> None:
    for name in ("tracked.py", "deep/new.py", "ignored/vast.py"):
        write(tree, name, "x = 1\n" * 301)
    write(tree, "just.py", "x = 1\n" * 300)
    write(tree, "prose.md", "word\n" * 900)
    subprocess.run(["git", "add", "tracked.py"], cwd=tree, check=True)  # noqa: S607 - git is on PATH
    assert [line.split(":")[0] for line in file_length.too_long(tree)] == ["deep/new.py", "tracked.py"]


def test_a_file_that_was_deleted_but_is_still_tracked_does_no_harm(tree: Path) -> None:
    write(tree, "gone.py", "")
    subprocess.run(["git", "add", "gone.py"], cwd=tree, check=True)  # noqa: S607 - git is on PATH
    (tree / "gone.py").unlink()
    assert file_length.too_long(tree) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", None),
        ('"""Says it."""\n', None),
        ('"""One.\n\nTwo.\nThree.\n"""\n', None),
        ("x = 1\n", "no docstring"),
        ('"""One.\n\nTwo.\nThree.\nFour.\n"""\n', "more than 3 lines"),
    ],
)
def test_a_module_says_what_belongs_in_it_in_three_lines_at_most(tree: Path, source: str, said: str | None) -> None:
    write(tree, "module.py", source)
    found = docs.undocumented(tree)
    assert (said in found[0]) if said else found == []


def test_a_stale_block_is_found_and_mended_and_the_text_around_it_stays(tree: Path) -> None:
    makers = {"shout": str.upper}
    write(tree, "page.md", "before\n<!-- generated: shout hello -->\nold\n<!-- end -->\nafter\n")
    write(tree, "other.md", "no block\n")
    found = docs.stale(tree, makers)
    assert found == {tree / "page.md": "before\n<!-- generated: shout hello -->\nHELLO<!-- end -->\nafter\n"}
    write(tree, "page.md", found[tree / "page.md"])
    assert docs.stale(tree, makers) == {}, "what was written is fresh"


def test_an_unknown_block_is_an_error_and_not_left_as_it_is(tree: Path) -> None:
    write(tree, "page.md", "<!-- generated: nonsense x -->\n<!-- end -->\n")
    with pytest.raises(KeyError, match="nonsense"):
        docs.stale(tree)


def test_the_editors_schema_is_compared_with_the_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from stacks import schema

    assert docs.stale_schema() == {}, "run `python -m tests.gates.docs --write`"
    old = tmp_path / "schema.json"
    old.write_text("{}")
    monkeypatch.setattr(schema, "JSON_SCHEMA", old)
    assert docs.stale_schema() == {old: schema.json_schema()}
