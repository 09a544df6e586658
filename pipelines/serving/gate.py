"""The gate before a release: a package is loaded and scored in the exact image that will serve it.

Runs in the platform; what runs in the image is `score`. Offline quality is judged elsewhere.
"""

import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.objects import Objects
from pipelines.serving import image
from stacks.errors import UserError

# Eight times the spacing of float32 just above 1: the same graph in the same runtime may differ by the order of its sums,
# not by more. Absolute below 1, relative above.
TOLERANCE = 1e-6
# Start and scoring take two seconds; a busy machine ten.
TIMEOUT_S = 60


@dataclass(frozen=True)
class GateResult:
    """`reason` is one line for people, also when it is ok. `max_difference` is None when nothing could be compared."""

    ok: bool
    reason: str
    max_difference: float | None
    seconds: float


def load_and_score(objects: Objects, image_digest: str, prefix: str, folder: Path) -> GateResult:
    """Restore the image under `folder`, score the example of the package at `prefix` in it, compare with its expected answers.

    A package that cannot be loaded or answers otherwise is a result that is not ok; a store out of reach raises UserError.
    """
    began = time.monotonic()
    python = image.restore(objects, image_digest, folder)
    reason, difference = _judge(_score(python, objects, prefix))
    ok = difference is not None and difference <= TOLERANCE
    return GateResult(ok, reason, difference, time.monotonic() - began)


def _score(python: Path, objects: Objects, prefix: str) -> dict[str, Any]:
    request = {"store": objects.store.model_dump(mode="json"), "bucket": objects.bucket, "prefix": prefix}
    try:
        done = subprocess.run(
            [python, "-m", "pipelines.serving.score"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"damaged": f"scoring the example took longer than {TIMEOUT_S} s"}
    if done.returncode < 0:
        return {"damaged": f"the image's python was ended by {signal.Signals(-done.returncode).name} while scoring"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        return {"damaged": f"the image cannot score (exit code {done.returncode}): {last}"}
    if "error" in answer:
        raise UserError(answer["error"], answer["do"])
    return answer


def _judge(answer: dict[str, Any]) -> tuple[str, float | None]:
    if "damaged" in answer:
        return answer["damaged"], None
    predictions, expected = answer["predictions"], answer["expected"]
    if not expected or len(predictions) != len(expected):
        return f"{len(predictions)} predictions for {len(expected)} expected answers", None
    differences = [abs(a - b) / max(1.0, abs(b)) for a, b in zip(predictions, expected, strict=True)]
    worst = max(
        range(len(expected)), key=lambda row: float("inf") if differences[row] != differences[row] else differences[row]
    )
    difference = differences[worst]
    if not difference <= TOLERANCE:
        return f"row {worst} gives {predictions[worst]!r} in the image, {expected[worst]!r} was expected", difference
    return f"{len(expected)} rows agree within {difference:.1e}", difference
