"""A package in the real store: whole, or refused by name."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.model import Feature, encode
from pipelines.objects import Objects
from pipelines.serving import package
from pipelines.serving.package import MARKER, Package, PackageDamaged, Signature, encode_rows
from stacks.errors import UserError
from tests.pipelines.serving import tiny


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"packages/tests/{tmp_path.name}"


def test_a_package_comes_back_as_it_was_saved(artifacts: Objects, prefix: str) -> None:
    saved = tiny.package()
    package.save(saved, artifacts, prefix)
    loaded = package.load(artifacts, prefix + "/")
    assert loaded == saved
    assert loaded.digest == saved.digest
    assert [entry.key.removeprefix(prefix + "/") for entry in artifacts.list(prefix)] == [
        "card.md",
        "example.json",
        "model.onnx",
        "package.json",
        "signature.json",
    ]


def test_saving_again_keeps_the_first_card(artifacts: Objects, prefix: str) -> None:
    first = tiny.package()
    first.save(artifacts, prefix)
    Package(first.onnx, first.signature, "# another card", first.example, first.expected).save(artifacts, prefix)
    assert package.load(artifacts, prefix).card == first.card


def test_another_graph_does_not_overwrite_a_package(artifacts: Objects, prefix: str) -> None:
    tiny.package().save(artifacts, prefix)
    with pytest.raises(UserError, match="holds another package"):
        tiny.package(weights=(0.0, 0.0, 1.0)).save(artifacts, prefix)
    assert package.load(artifacts, prefix) == tiny.package()


def test_a_save_that_was_killed_before_its_marker_is_no_package_and_can_be_done_again(artifacts: Objects, prefix: str) -> None:
    tiny.package().save(artifacts, prefix)
    artifacts.delete(f"{prefix}/{MARKER}")
    artifacts.put(f"{prefix}/model.onnx", b"torn")
    with pytest.raises(PackageDamaged, match=f"no complete package under {prefix}"):
        package.load(artifacts, prefix)
    tiny.package().save(artifacts, prefix)
    assert package.load(artifacts, prefix) == tiny.package()


@pytest.mark.parametrize("member", ["model.onnx", "signature.json", "card.md", "example.json", MARKER])
def test_an_altered_member_is_refused_by_name(artifacts: Objects, prefix: str, member: str) -> None:
    tiny.package().save(artifacts, prefix)
    sound = artifacts.get(f"{prefix}/{member}")
    artifacts.put(f"{prefix}/{member}", sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(PackageDamaged, match=f"{prefix}/{member}"):
        package.load(artifacts, prefix)


def test_a_missing_member_is_named(artifacts: Objects, prefix: str) -> None:
    tiny.package().save(artifacts, prefix)
    artifacts.delete(f"{prefix}/card.md")
    with pytest.raises(PackageDamaged, match=r"card\.md is missing"):
        package.load(artifacts, prefix)


def test_a_missing_value_in_the_example_is_stored_as_null(artifacts: Objects, prefix: str) -> None:
    base = tiny.package()
    rows = [{**base.example[0], "wind": math.nan}, base.example[1]]
    Package(base.onnx, base.signature, base.card, rows, base.expected).save(artifacts, prefix)
    assert package.load(artifacts, prefix).example == base.example, "the first row's wind is None there"


def test_an_infinite_expectation_is_refused(artifacts: Objects, prefix: str) -> None:
    base = tiny.package()
    with pytest.raises(UserError, match="not finite"):
        Package(base.onnx, base.signature, base.card, base.example, [math.inf, 0.0]).save(artifacts, prefix)


def test_a_signature_survives_json() -> None:
    assert Signature.from_json(tiny.SIGNATURE.to_json()) == tiny.SIGNATURE
    assert json.loads(tiny.SIGNATURE.to_json())["features"][1]["categories"] == ["AA", "B6", "UA"]


numbers = st.none() | st.floats() | st.sampled_from([1e39, -1e39, 1e-46, 16777217.0])
texts = st.none() | st.sampled_from(["AA", "B6", "UA", "ZZ", ""]) | st.text(max_size=3)


@given(st.lists(st.fixed_dictionaries({"distance": numbers, "carrier": texts, "wind": numbers}), min_size=1, max_size=8))
def test_the_server_encodes_as_training_does(rows: list[dict[str, object]]) -> None:
    schema = {"distance": pl.Float64, "carrier": pl.String, "wind": pl.Float64}
    trained = encode(tiny.FEATURES, pl.DataFrame(rows, schema=schema))
    served = encode_rows(tiny.SIGNATURE, rows)
    assert served.dtype == np.float32
    np.testing.assert_array_equal(served, trained)


def test_a_row_without_a_feature_is_an_error() -> None:
    with pytest.raises(KeyError, match="wind"):
        encode_rows(tiny.SIGNATURE, [{"distance": 1.0, "carrier": "AA"}])


def test_a_vocabulary_is_encoded_in_its_order() -> None:
    feature = Feature(name="c", kind="categorical", categories=("b", "a"))
    signature = Signature(model="m", features=(feature,), feature_view="v", entity="e")
    assert encode_rows(signature, [{"c": "a"}, {"c": "b"}]).tolist() == [[1.0], [0.0]]
