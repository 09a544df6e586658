"""The command as a whole: what it teaches, how fast, and how it ends when something is wrong."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import main
from stacks.errors import UserError
from tests.cli.shell import environment, refusal, running, spotforge

HEAVY = {"aiohttp", "boto3", "botocore", "dagster", "deltalake", "matplotlib", "mlflow", "numpy", "onnxruntime", "pandas"}
HEAVY |= {"polars", "psutil", "pulumi", "pyarrow", "xgboost"}


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, (*path, name))


EVERY = list(_commands(typer.main.get_command(main.app)))


def test_every_command_of_the_issue_is_there() -> None:
    wanted: list[tuple[str, ...]] = [("up",), ("status",), ("logs",), ("down",), ("demo",)]
    wanted += [("release", name) for name in ("list", "show", "history", "verify", "rollback", "reject")]
    assert not set(wanted) - set(EVERY)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: " ".join(path) or "spotforge")
def test_help_teaches_with_an_example_of_that_very_command(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main.app, [*path, "--help"], env={"TERMINAL_WIDTH": "120", "NO_COLOR": "1"})
    assert done.exit_code == 0
    examples = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("Example:")]
    assert len(examples) == 1, done.stdout
    assert examples[0].startswith(f"Example: {' '.join(('spotforge', *path))}"), "an example of another command teaches nothing"


@pytest.mark.parametrize("path", EVERY, ids=lambda path: " ".join(path) or "spotforge")
def test_help_says_the_defaults_that_code_works_out(path: tuple[str, ...]) -> None:
    """Text in square brackets is markup to the help's renderer, and vanishes: the default must be given as a default."""
    done = CliRunner().invoke(main.app, [*path, "--help"], env={"TERMINAL_WIDTH": "160", "NO_COLOR": "1"})
    for option, default in {"--home": "$SPOTFORGE_HOME", "--outputs": "the local stack's", "--to ": "the one before"}.items():
        if option in done.stdout:
            assert default in done.stdout, f"{option} of {path} does not say its default"


def test_nothing_heavy_is_imported_for_help() -> None:
    code = f"import sys, cli.main; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.split() == [], "`spotforge --help` would wait for these"


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("status", "--nonsense"), ("release", "show"), ("logs", "mlflow", "-n", "-3")]
)
def test_misuse_exits_2_with_the_usage(arguments: tuple[str, ...]) -> None:
    done = spotforge(*arguments)
    assert done.returncode == 2
    assert "Usage: spotforge" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_of_the_same_error(tmp_path: Path) -> None:
    said = refusal(spotforge("status", "--home", tmp_path))
    assert said == f"spotforge: no stack is running in {tmp_path}. Run `spotforge up`."
    shown = spotforge("--debug", "status", "--home", tmp_path)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert f"stacks.errors.UserError: no stack is running in {tmp_path}" in shown.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("the wheel is broken.", "Mend it."), "the wheel is broken. Mend it."),
        (
            OSError(28, "No space left on device", "/s/x"),
            "/s/x: No space left on device. Free some space, then run the command",
        ),
        (PermissionError(13, "Permission denied", "/s/x"), "/s/x: Permission denied. Mend that, then run the command again."),
        (ValueError("two\nlines"), "unexpected ValueError: two lines. Run it again as `spotforge --debug …`, and report"),
    ],
)
def test_an_error_is_one_line_that_says_what_and_what_to_do(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(main, "past_proxies", lambda _: {})
    monkeypatch.setenv("SPOTFORGE_DEBUG", "")
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"spotforge: {said}")
    assert shown.count("\n") == 1
    monkeypatch.setenv("SPOTFORGE_DEBUG", "1")
    with pytest.raises(type(error)):
        main.main()


def test_a_reader_that_leaves_ends_the_command_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mlflow.log").write_text("a line\n" * 100_000)
    with running("logs", "mlflow", "-n", 100_000, "--home", tmp_path) as telling:
        assert telling.out.readline() == "a line\n"
        telling.out.close()
        assert telling.err.read() == ""
        assert telling.process.wait() == 1
