"""Where the local stack keeps its state. Names only; nothing here touches a file."""

import os
from pathlib import Path

ENV = "SPOTFORGE_HOME"
"""Names the state folder; every process of a stack carries it, which is how strays are found."""
PROJECT = Path(__file__).resolve().parents[2]


def default_home() -> Path:
    """The state folder: $SPOTFORGE_HOME, or `.spotforge` in the checkout."""
    return Path(os.environ.get(ENV) or PROJECT / ".spotforge").absolute()


def outputs(home: Path) -> Path:
    return home / "outputs.json"


def credentials(home: Path) -> Path:
    return home / "credentials"


def log(home: Path, part: str) -> Path:
    return home / "logs" / f"{part}.log"
