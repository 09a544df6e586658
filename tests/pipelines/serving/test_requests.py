"""What callers may send, and the one line that refuses the rest."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.serving.requests import MAX_ROWS, Batch, Reader, Refused
from tests.pipelines.serving import tiny

GOOD: dict[str, Any] = {"id": "a", "time": "2013-01-01T05:00:00Z", "features": tiny.EXAMPLE[0]}


def read(*items: Any) -> Batch:
    return Reader(tiny.SIGNATURE).read(json.dumps({"requests": list(items)}).encode())


def refusal(body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        Reader(tiny.SIGNATURE).read(body)
    return caught.value


def features(**changed: Any) -> dict[str, Any]:
    return {**GOOD, "features": {**GOOD["features"], **changed}}


def test_values_come_in_the_order_of_the_signature() -> None:
    batch = read({**GOOD, "features": {"wind": 3, "carrier": "B6", "distance": 2.5}})
    assert batch.values == [[2.5, "B6", 3.0]]
    assert batch.ids == ["a"]
    assert batch.faults == []


def test_times_of_any_zone_become_microseconds_of_utc() -> None:
    batch = read({**GOOD, "time": "2013-01-01T00:00:00.000001-05:00"}, {**GOOD, "id": "b", "time": None})
    assert batch.times == [int(datetime(2013, 1, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000 + 1, None]


def test_what_the_signature_does_not_expect_is_counted_and_answered() -> None:
    batch = read(features(carrier="ZZ", distance=None, wind=None), {**features(distance=-1.0), "id": "b"})
    assert batch.faults == [("distance", "null"), ("carrier", "unseen"), ("distance", "range")], "wind may be null"
    assert batch.values == [[None, "ZZ", None], [-1.0, "UA", None]]


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (3, "requests[0]: must be an object, not a number"),
        ({**GOOD, "tim": 1}, "requests[0]: unknown key 'tim'; there are id, time and features"),
        ({**GOOD, "id": 7}, "requests[0]: id must be a string of 1 to 256 characters"),
        ({**GOOD, "id": ""}, "requests[0]: id must be a string of 1 to 256 characters"),
        ({**GOOD, "features": [1]}, "requests[0]: features must be an object, not a list"),
        ({**GOOD, "features": {"distance": 1, "carrier": "AA"}}, "requests[0]: feature 'wind' is missing (send null where"),
        (features(speed=1), "requests[0]: unknown feature 'speed'"),
        (features(distance="far"), "requests[0]: feature 'distance' must be a number, not a string"),
        (features(distance=True), "requests[0]: feature 'distance' must be a number, not a boolean"),
        (features(distance=1e39), "requests[0]: feature 'distance' is beyond the range of a float32"),
        (features(carrier=4), "requests[0]: feature 'carrier' must be a string, not a number"),
        (features(carrier="x" * 300), "requests[0]: feature 'carrier' is longer than 256 characters"),
        ({**GOOD, "time": "noon"}, "requests[0]: time must be an ISO 8601 moment with its zone"),
        ({**GOOD, "time": "2013-01-01T05:00:00"}, "requests[0]: time must be an ISO 8601 moment with its zone"),
        ({**GOOD, "time": 5}, "requests[0]: time must be an ISO 8601 moment with its zone"),
    ],
)
def test_a_bad_row_is_refused_with_its_place_and_reason(item: Any, line: str) -> None:
    refused = refusal(json.dumps({"requests": [item]}).encode())
    assert refused.status == 422
    assert refused.line.startswith(line)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"requests": NaN}', b"[" * 5000, b'{"requests":[{"id":"\\ud800"}]}'])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body).status == 400


@pytest.mark.parametrize("body", [b"1", b"[]", b"{}", b'{"requests": []}', b'{"requests": {}}'])
def test_json_of_another_shape_is_refused(body: bytes) -> None:
    assert refusal(body).status == 422


def test_too_many_rows_are_refused() -> None:
    items = [{**GOOD, "id": str(index)} for index in range(MAX_ROWS + 1)]
    assert refusal(json.dumps({"requests": items}).encode()).status == 413


def test_an_id_twice_in_one_request_is_refused() -> None:
    assert refusal(json.dumps({"requests": [GOOD, GOOD]}).encode()).line == "two requests have the same id"


anything = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
nearly = st.fixed_dictionaries(
    {
        "id": st.text(max_size=3) | anything,
        "features": st.fixed_dictionaries({"distance": anything, "carrier": anything, "wind": anything}) | anything,
    },
    optional={"time": anything | st.datetimes().map(str), "more": anything},
)
bodies = (
    st.binary(max_size=40)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.lists(nearly, max_size=3).map(lambda items: json.dumps({"requests": items}).encode())
)


@given(bodies)
@example(b'{"requests":[{"id":"a","features":{"distance":1e400,"carrier":null,"wind":-1e400}}]}')
@example(b'{"requests":[{"id":"a","time":"0001-01-01T00:00:00+23:59","features":{"distance":1,"carrier":null,"wind":1}}]}')
def test_any_body_is_read_or_refused_in_one_line(body: bytes) -> None:
    try:
        batch = Reader(tiny.SIGNATURE).read(body)
    except Refused as refused:
        assert 400 <= refused.status < 500
        assert "\n" not in refused.line
        assert len(refused.line) < 300
    else:
        assert len(batch.ids) == len(batch.times) == len(batch.values) > 0
