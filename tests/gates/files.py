"""Which files the gates look at: what git tracks, and what is new and not ignored."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def listed(root: Path, pattern: str) -> list[Path]:
    """Files matching a git pattern (`*.py` matches in every folder), sorted; those deleted in the working tree are left out."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", pattern],  # noqa: S607 - git is on PATH
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in sorted(set(done.stdout.split("\0"))) if name and (path := root / name).is_file()]
