"""What callers may send: bytes in, rows in the signature's order out, or a refusal in one clear line. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.model import Feature
from pipelines.serving.package import Signature

# A page of rows for a backfill; more at once would hold the other callers up.
MAX_ROWS = 1000
# MAX_ROWS rows of 2 kB each.
MAX_BYTES = 2 * 1024 * 1024
# Ids and categories go to the log as they are; a longer one is a mistake.
MAX_TEXT = 256
# Largest float32: beyond it the model would see infinity.
MAX_NUMBER = 3.4028234663852886e38
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEYS = frozenset({"id", "time", "features"})
_JSON_TYPES = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


class Refused(Exception):
    """The caller's mistake: HTTP status and one line."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status
        self.line = line


@dataclass(frozen=True, slots=True)
class Batch:
    """One request's rows: ids, event times (microseconds since the epoch, or None), values in feature order, and findings."""

    ids: list[str]
    times: list[int | None]
    values: list[list[Any]]
    faults: list[tuple[str, str]]
    """(feature, kind): kind is `unseen` (category), `null` (where not nullable) or `range`. Answered all the same, counted."""


class Reader:
    """Parses and checks request bodies against one signature."""

    def __init__(self, signature: Signature) -> None:
        self._names = frozenset(signature.names)
        self._features = tuple(zip(signature.features, signature.codes, strict=True))

    def read(self, body: bytes) -> Batch:
        """Raises Refused."""
        import orjson

        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"the body is not JSON: {error}") from error
        items = content.get("requests") if isinstance(content, dict) else None
        if not isinstance(items, list) or not items:
            raise Refused(422, 'the body must be {"requests": [{"id", "time", "features"}, ...]} with at least one request')
        if len(items) > MAX_ROWS:
            raise Refused(413, f"{len(items)} requests at once; at most {MAX_ROWS} are answered")
        batch = Batch([], [], [], [])
        for index, item in enumerate(items):
            try:
                self._add(batch, item)
            except _Bad as error:
                raise Refused(422, f"requests[{index}]: {error}") from error
        if len(set(batch.ids)) != len(batch.ids):
            raise Refused(422, "two requests have the same id")
        return batch

    def _add(self, batch: Batch, item: Any) -> None:
        if not isinstance(item, dict):
            raise _Bad(f"must be an object, not {_kind(item)}")
        if not item.keys() <= _KEYS:
            raise _Bad(f"unknown key {_name(item.keys() - _KEYS)}; there are id, time and features")
        identity, features = item.get("id"), item.get("features")
        if not isinstance(identity, str) or not 0 < len(identity) <= MAX_TEXT:
            raise _Bad(f"id must be a string of 1 to {MAX_TEXT} characters")
        if not isinstance(features, dict):
            raise _Bad(f"features must be an object, not {_kind(features)}")
        if features.keys() != self._names:
            if missing := self._names - features.keys():
                raise _Bad(f"feature {_name(missing)} is missing (send null where the value is unknown)")
            raise _Bad(f"unknown feature {_name(features.keys() - self._names)}")
        values = [self._value(batch, feature, codes, features[feature.name]) for feature, codes in self._features]
        batch.times.append(_time(item.get("time")))
        batch.ids.append(identity)
        batch.values.append(values)

    @staticmethod
    def _value(batch: Batch, feature: Feature, codes: dict[str, float] | None, value: Any) -> Any:
        if value is None:
            if not feature.nullable:
                batch.faults.append((feature.name, "null"))
            return None
        if codes is not None:
            if not isinstance(value, str):
                raise _Bad(f"feature {feature.name!r} must be a string, not {_kind(value)}")
            if value not in codes:
                if len(value) > MAX_TEXT:
                    raise _Bad(f"feature {feature.name!r} is longer than {MAX_TEXT} characters")
                batch.faults.append((feature.name, "unseen"))
            return value
        if type(value) not in (float, int):
            raise _Bad(f"feature {feature.name!r} must be a number, not {_kind(value)}")
        if not abs(value) <= MAX_NUMBER:
            raise _Bad(f"feature {feature.name!r} is beyond the range of a float32")
        if (feature.low is not None and value < feature.low) or (feature.high is not None and value > feature.high):
            batch.faults.append((feature.name, "range"))
        return float(value)


class _Bad(Exception):
    """One row's mistake, in words."""


def _time(text: Any) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return (moment - _EPOCH) // _MICROSECOND
    except (TypeError, ValueError, OverflowError):
        pass
    raise _Bad("time must be an ISO 8601 moment with its zone, such as 2013-01-01T05:00:00Z")


def _kind(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "null")


def _name(names: Sequence[str] | frozenset[str] | set[str]) -> str:
    """The first of them, short enough for one line."""
    return ascii(min(names)[:60])
