"""Which installed files the model server needs: the `serving` dependency group and all that it requires.

Reads installed metadata; the group's names live in pyproject.toml and nowhere else. Runs in the platform, not in the image.
"""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from pipelines.serving.tree import Files
from stacks.errors import UserError

GROUP = "serving"
# What an installer notes about itself differs between machines and is not part of the distribution.
INSTALLER_NOTES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
_MEND = "Install the project again with `uv sync`."


def group(pyproject: Path) -> list[str]:
    """The requirement strings of the serving group."""
    try:
        names: list[str] = tomllib.loads(pyproject.read_text())["dependency-groups"][GROUP]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{pyproject}: no dependency group {GROUP!r} ({error})", "Run from a whole checkout.") from error
    return names


def distributions(requirements: list[str]) -> dict[str, Distribution]:
    """The installed distributions that satisfy `requirements` and theirs, by normalised name; markers are heeded."""
    from packaging.requirements import Requirement

    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        wanted = todo.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        for extra in ("", *sorted(wanted.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name not in found:
                try:
                    found[name] = distribution(name)
                except PackageNotFoundError as error:
                    raise UserError(f"the serving image needs {name}, which is not installed", _MEND) from error
            for text in found[name].requires or []:
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    todo.append(needed)
    return dict(sorted(found.items()))


def files(found: dict[str, Distribution]) -> Files:
    """Installed files by their path below site-packages; no scripts, no bytecode, no installer's notes."""
    listed: dict[str, Path | bytes] = {}
    for name, dist in found.items():
        for entry in dist.files or []:
            if entry.parts[0] == ".." or "__pycache__" in entry.parts:
                continue
            if entry.parts[0].endswith(".dist-info") and entry.name in INSTALLER_NOTES:
                continue
            path = Path(str(entry.locate()))
            if not path.is_file():
                raise UserError(f"{name} is not installed whole: {path} is missing", _MEND)
            listed[entry.as_posix()] = path
    return listed
