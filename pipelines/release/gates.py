"""The staging gate: does the release, running from its own image, answer as its package says, and in time? No routing here."""

import http.client
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.release.platform import Endpoint
from pipelines.release.record import Release

if TYPE_CHECKING:
    from pipelines.serving.package import Package

# The graph runs in float32, and another CPU may add in another order.
TOLERANCE = 1e-5
# Enough for a median that one slow answer does not move; some 50 ms in all.
TIMED = 21
PATIENCE_S = 5.0
OK = 200


@dataclass(frozen=True)
class Smoke:
    """What the gate saw. `problems` is empty when the release may go on."""

    rows: int
    max_difference: float
    median_ms: float
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


def smoke(release: Release, package: "Package", endpoints: Sequence[Endpoint]) -> Smoke:
    """Ask every server for the package's example rows, and time single requests. Never raises for a server's fault."""
    problems: list[str] = []
    worst, medians = 0.0, []
    for endpoint in endpoints:
        try:
            worst = max(worst, _compare(package, endpoint))
            medians.append(_median_ms(package, endpoint))
            told = identity(endpoint)
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            problems.append(f"port {endpoint.port} does not answer the example rows ({type(error).__name__}: {error})"[:300])
            continue
        if told.get("model_digest") != release.model.digest:
            problems.append(f"port {endpoint.port} serves model {str(told.get('model_digest'))[:12]}, not the release's")
    median = max(medians, default=math.nan)
    if worst > TOLERANCE:
        problems.append(f"answers differ from the package's by up to {worst:.2g} (at most {TOLERANCE:.0e})")
    if median > release.serving.slo_ms:
        problems.append(f"a single answer takes {median:.0f} ms in the median (at most {release.serving.slo_ms})")
    return Smoke(len(package.example), worst, round(median, 2), tuple(problems))


def identity(endpoint: Endpoint) -> dict[str, Any]:
    """What the server says it is (`/v1/model`). Raises OSError or ValueError when it does not answer."""
    answer: dict[str, Any] = _ask(endpoint, "GET", "/v1/model")
    return answer


def ready(endpoint: Endpoint, release: str) -> bool:
    """Whether the server is ready and serves this very release: another may have taken the port."""
    try:
        _ask(endpoint, "GET", "/readyz", timeout=1.0, json_answer=False)
        return bool(identity(endpoint).get("release") == release)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _compare(package: "Package", endpoint: Endpoint) -> float:
    answers = _predict(endpoint, package.example)
    if len(answers) != len(package.expected):
        raise ValueError(f"{len(answers)} answers for {len(package.expected)} rows")
    differences = [abs(float(got) - wanted) for got, wanted in zip(answers, package.expected, strict=True)]
    return math.inf if any(math.isnan(value) for value in differences) else max(differences, default=0.0)


def _median_ms(package: "Package", endpoint: Endpoint) -> float:
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        _predict(endpoint, package.example[:1])
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[TIMED // 2]


def _predict(endpoint: Endpoint, rows: Sequence[dict[str, Any]]) -> list[float]:
    requests = [{"id": f"smoke-{number}", "features": row} for number, row in enumerate(rows)]
    answer = _ask(endpoint, "POST", "/v1/predict", {"requests": requests})
    by_id = {item["id"]: item["prediction"] for item in answer["predictions"]}
    return [by_id[item["id"]] for item in requests]


def _ask(
    endpoint: Endpoint, method: str, path: str, body: Any = None, *, timeout: float = PATIENCE_S, json_answer: bool = True
) -> Any:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)
    try:
        # Smoke rows are marked as a mirror's, so that the prediction log never takes them for a caller's.
        headers = {"content-type": "application/json", "host": f"smoke-shadow:{endpoint.port}"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != OK:
        raise ValueError(f"{method} {path}: {answer.status} {content[:120]!r}")
    return json.loads(content) if json_answer else content
