"""Where the local stack keeps its state. Names only; nothing here touches a file."""

import os
from pathlib import Path

ENV = "SPOTFORGE_HOME"
"""Names the state folder. People may export it in a shell, so it does not tell who belongs to a stack: MARK does."""
MARK = "SPOTFORGE_PART_OF"
"""Set to the state folder in the environment of every process of a stack, and only there: that is how strays are found."""
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


def s3_identity(home: Path) -> Path:
    return home / "seaweedfs.json"


def workspace(home: Path) -> Path:
    return home / "dagster" / "workspace.yaml"


def envoy_bootstrap(home: Path) -> Path:
    return home / "envoy" / "bootstrap.json"
