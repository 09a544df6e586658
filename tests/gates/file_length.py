"""`python -m tests.gates.file_length`: a Python file over 300 lines is two files."""

import sys
from pathlib import Path

from tests.gates.files import ROOT, listed

LIMIT = 300


def too_long(root: Path) -> list[str]:
    """One line a file that is too long."""
    found = []
    for path in listed(root, "*.py"):
        lines = len(path.read_text().splitlines())
        if lines > LIMIT:
            found.append(f"{path.relative_to(root)}: {lines} lines are more than {LIMIT}; split it by what changes together")
    return found


def main() -> int:
    found = too_long(ROOT)
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
