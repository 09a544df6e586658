"""Availability traces of spot capacity. A reader is always told which convention a file follows: it never guesses.

Samples with their licences lie in `data/`; what is made of traces is `replay`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stacks.errors import UserError

Convention = Literal["1 = preempted", "1 = available"]
SAMPLES = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Trace:
    """Whether spot capacity was to be had, a tick of `gap_s` seconds at a time."""

    name: str
    gap_s: float
    available: tuple[bool, ...]


def read(path: Path, *, convention: Convention) -> Trace:
    """One JSON trace (`metadata.gap_seconds`, `data`). The same traces circulate under both conventions: name it.

    Raises UserError when the file is no trace.
    """
    try:
        content = json.loads(path.read_text())
        gap, values = float(content["metadata"]["gap_seconds"]), content["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no trace ({type(error).__name__}: {error})", "Give a file with metadata and data."
        ) from error
    if gap <= 0 or not values or not set(values) <= {0, 1}:
        raise UserError(f"{path} is no trace", "Its data must be zeros and ones and its gap_seconds positive.")
    there = 0 if convention == "1 = preempted" else 1
    return Trace(f"{path.parent.name}/{path.stem}", gap, tuple(value == there for value in values))


def samples() -> list[Trace]:
    """The traces that come with the project; both public sets they are from write 1 = preempted."""
    return [read(path, convention="1 = preempted") for path in sorted(SAMPLES.glob("*/*/*.json"))]
