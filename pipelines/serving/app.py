"""The model server's HTTP surface, as a plain ASGI application: routes, answers, headers.

What may be sent is `requests`, what is kept is `prediction_log`; starting and stopping is `server`.
"""

import asyncio
import re
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from pipelines.serving.metrics import Metrics
from pipelines.serving.package import Signature, encode_values
from pipelines.serving.prediction_log import Entry, PredictionLog
from pipelines.serving.requests import MAX_BYTES, Batch, Reader, Refused
from pipelines.serving.scorer import Scorer

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# Up to here a batch is scored where it arrives (well under a millisecond); a larger one goes to a thread and holds nobody up.
INLINE_ROWS = 32
# The gateway's mirror appends this to the host's name, before the port.
_SHADOW = re.compile(rb"-shadow(:\d+)?$")
_JSON, _TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What this server is, as `/v1/model` tells it."""

    release: str
    model: str
    model_digest: str
    image_digest: str | None
    """None when the server runs from a checkout."""
    code_digest: str


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    kind: bytes = _JSON


class App:
    """One release, answering."""

    def __init__(
        self, identity: Identity, signature: Signature, scorer: Scorer, log: PredictionLog, metrics: Metrics, *, threads: int
    ) -> None:
        self._identity, self._signature, self._scorer = identity, signature, scorer
        self._log, self._metrics = log, metrics
        self._reader = Reader(signature)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="scorer")
        self._release = identity.release.encode()
        self._pages = {
            "/healthz": lambda: Answer(200, b"ok\n", _TEXT),
            "/readyz": lambda: Answer(200, b"ready\n", _TEXT),
            "/v1/model": lambda: Answer(200, orjson.dumps(identity)),
            "/metrics": lambda: Answer(200, metrics.text(), _TEXT),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/v1/predict":
            await self._predict(scope, receive, send)
            return
        page = self._pages.get(scope["path"])
        if page is None:
            await self._send(send, _refusal(404, f"no such path; there are /v1/predict, {', '.join(self._pages)}"))
        elif scope["method"] not in {"GET", "HEAD"}:
            await self._send(send, _refusal(405, f"{scope['path']} answers GET only"))
        else:
            await self._send(send, page())

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        arm = "shadow" if _is_shadow(scope["headers"]) else "live"
        entry = None
        try:
            if scope["method"] != "POST":
                raise Refused(405, "/v1/predict answers POST only")
            body = await _body(receive)
            if body is None:
                return  # the caller left
            began = time.perf_counter()
            batch = self._reader.read(body)
            self._metrics.found(batch.faults)
            predictions = await self._score(batch)
            answer = self._answer(batch, predictions)
            took = time.perf_counter() - began
            entry = Entry(batch.ids, batch.times, batch.values, predictions, time.time_ns() // 1000, arm, took * 1000)
            self._metrics.seconds[arm].observe(took)
            self._metrics.rows[arm].inc(len(predictions))
        except Refused as refused:
            answer = _refusal(refused.status, refused.line)
        except Exception:  # whatever it is, this caller gets an answer and the next one is served
            sys.stderr.write(traceback.format_exc())
            answer = _refusal(500, "the server failed to answer; its log says why")
        self._metrics.answered(arm, answer.status)
        if entry is not None:
            self._log.add(entry)
        await self._send(send, answer)

    async def _score(self, batch: Batch) -> list[float]:
        matrix = encode_values(self._signature, batch.values)
        if len(batch.ids) <= INLINE_ROWS:
            predictions = self._scorer.predict(matrix)
        else:
            loop = asyncio.get_running_loop()
            predictions = await loop.run_in_executor(self._pool, self._scorer.predict, matrix)
        if len(predictions) != len(batch.ids):
            raise Refused(500, f"the model gave {len(predictions)} predictions for {len(batch.ids)} requests")
        numbers: list[float] = predictions.tolist()
        return numbers

    def _answer(self, batch: Batch, predictions: list[float]) -> Answer:
        for identity, prediction in zip(batch.ids, predictions, strict=True):
            if prediction - prediction != 0.0:  # NaN or infinite: a faulty model, which counts against the release
                raise Refused(500, f"the model gave no finite number for request {identity[:60]!a}")
        answers = [{"id": i, "prediction": p} for i, p in zip(batch.ids, predictions, strict=True)]
        return Answer(200, orjson.dumps({"release": self._identity.release, "predictions": answers}))

    async def _send(self, send: Send, answer: Answer) -> None:
        headers = [
            (b"content-type", answer.kind),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-spotforge-release", self._release),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _is_shadow(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"host" and _SHADOW.search(value) is not None for name, value in headers)


def _refusal(status: int, line: str) -> Answer:
    return Answer(status, orjson.dumps({"error": line}))


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None when the caller left. Raises Refused once it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        size += len(message["body"])
        if size > MAX_BYTES:
            raise Refused(413, f"the body is larger than {MAX_BYTES} bytes; send fewer requests at once")
        if not message.get("more_body"):
            return b"".join(parts)
