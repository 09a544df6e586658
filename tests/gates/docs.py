"""`python -m tests.gates.docs [--write]`: what is generated is fresh, and every module says what belongs in it.

A generated block stands between `<!-- generated: WHAT -->` and `<!-- end -->`; WHAT is a key of `MAKERS` and its argument.
"""

import ast
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.gates.files import ROOT, listed

BLOCK = re.compile(r"(<!-- generated: ([^>]+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
DOCSTRING_LINES = 3
WIDTH = "100"


def _alert(name: str) -> str:
    from runbooks import catalog

    return catalog.block(catalog.get(name))


def _sample(name: str) -> str:
    """What a runbook prints on its sick fixture."""
    from cli.runbook import render
    from runbooks import catalog
    from runbooks.serving_errors import diagnose, mitigate
    from tests.runbooks import sick
    from tests.runbooks.test_judge import OUTPUTS

    runbook = catalog.get(name)
    diagnosis = diagnose.judge({"serving-errors": sick.CANARY_ERRS}[name])
    return f"```console\n$ {runbook.command}\n{render(runbook, diagnosis, mitigate.plan(OUTPUTS, diagnosis))}\n```\n"


def _help(command: str) -> str:
    """A command's own help, as a reader would see it."""
    from typer.testing import CliRunner

    from cli.main import app

    arguments = command.removeprefix("spotforge").split()
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH, "NO_COLOR": "1", "TERM": "dumb"})
    if done.exit_code != 0:
        raise ValueError(f"`{command}` exits {done.exit_code}")
    text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return f"```console\n$ {command}\n{text}\n```\n"


def _file(path: str) -> str:
    """A file of the repository, whole: what the page shows is then what the tests run."""
    return f"```python\n{(ROOT / path).read_text()}```\n"


MAKERS: Mapping[str, Callable[[str], str]] = {"alert": _alert, "sample": _sample, "$": _help, "file": _file}


def fresh(text: str, makers: Mapping[str, Callable[[str], str]] = MAKERS) -> str:
    """A page with every generated block made anew."""

    def make(found: re.Match[str]) -> str:
        kind, _, argument = found[2].partition(" ")
        return f"{found[1]}{makers[kind](argument)}{found[4]}"

    return BLOCK.sub(make, text)


def stale(root: Path, makers: Mapping[str, Callable[[str], str]] = MAKERS) -> dict[Path, str]:
    """Every page whose generated blocks are not what they would be now, with what it should hold."""
    pages = {path: path.read_text() for path in listed(root, "*.md")}
    wanted = {path: fresh(text, makers) for path, text in pages.items()}
    return {path: text for path, text in wanted.items() if text != pages[path]}


def stale_schema() -> dict[Path, str]:
    from stacks import schema

    text = schema.json_schema()
    return {} if schema.JSON_SCHEMA.read_text() == text else {schema.JSON_SCHEMA: text}


def undocumented(root: Path) -> list[str]:
    """Modules without a docstring, or with one that nobody reads to its end. Empty `__init__.py` files say nothing."""
    found = []
    for path in listed(root, "*.py"):
        source = path.read_text()
        if not source.strip():
            continue
        docstring = ast.get_docstring(ast.parse(source))
        if docstring is None:
            found.append(f"{path.relative_to(root)}: no docstring; say what belongs here and what does not")
        elif sum(bool(line.strip()) for line in docstring.splitlines()) > DOCSTRING_LINES:
            found.append(f"{path.relative_to(root)}: its docstring has more than {DOCSTRING_LINES} lines; shorten it")
    return found


def main(arguments: list[str]) -> int:
    old = stale(ROOT) | stale_schema()
    found = undocumented(ROOT)
    if "--write" in arguments:
        for path, text in old.items():
            path.write_text(text)
    else:
        found += [
            f"{path.relative_to(ROOT)}: generated text is stale; run `python -m tests.gates.docs --write`" for path in old
        ]
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
