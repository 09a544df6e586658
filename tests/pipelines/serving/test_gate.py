"""The gate before a release, in real images: what passes, and what is held with which words."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.objects import Objects
from pipelines.serving import gate, image, tree
from pipelines.serving.gate import TOLERANCE, load_and_score
from pipelines.serving.package import Package
from pipelines.serving.score import score
from stacks.errors import UserError
from tests.pipelines.serving import tiny
from tests.pipelines.serving.conftest import Image


def save(artifacts: Objects, tmp_path: Path, package: Package) -> str:
    prefix = f"packages/gate/{tmp_path.name}"
    package.save(artifacts, prefix)
    return prefix


def test_a_package_that_answers_as_expected_passes(artifacts: Objects, built: Image, tmp_path: Path) -> None:
    result = load_and_score(artifacts, built.digest, save(artifacts, tmp_path, tiny.package()), built.folder)
    assert result.ok, result.reason
    assert result.max_difference is not None
    assert result.max_difference <= TOLERANCE
    assert result.reason.startswith("2 rows agree within")
    assert result.seconds < 10


def test_a_package_that_answers_otherwise_is_held_with_the_row(artifacts: Objects, built: Image, tmp_path: Path) -> None:
    sound = tiny.package()
    skewed = replace(sound, expected=[sound.expected[0], sound.expected[1] + 0.01])
    result = load_and_score(artifacts, built.digest, save(artifacts, tmp_path, skewed), built.folder)
    assert not result.ok
    assert result.max_difference == pytest.approx(0.01, rel=1e-3)
    assert result.reason.startswith("row 1 gives ")


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (replace(tiny.package(), onnx=b"not a graph"), "cannot load the model"),
        (replace(tiny.package(), onnx=tiny.graph(output="score2")), "outputs ['score2'], not 'features' and 'prediction'"),
        (replace(tiny.package(), onnx=tiny.graph(weights=(1.0, 2.0))), "the model takes 2 features, its signature names 3"),
        (replace(tiny.package(), expected=[0.5]), "2 predictions for 1 expected answers"),
        (
            replace(tiny.package(), example=[{"distance": 1.0}], expected=[0.5]),
            "the example cannot be scored: KeyError: 'carrier'",
        ),
    ],
    ids=["garbage", "output", "width", "length", "row"],
)
def test_a_package_that_cannot_be_served_is_held_with_a_readable_reason(
    artifacts: Objects, tmp_path: Path, package: Package, reason: str
) -> None:
    store = artifacts.store.model_dump(mode="json")
    prefix = save(artifacts, tmp_path, package)
    # As the image's python does, without starting it six times.
    said, difference = gate._judge(score({"store": store, "bucket": artifacts.bucket, "prefix": prefix}))
    assert reason in said
    assert "\n" not in said
    assert difference is None


def test_a_graph_that_this_runtime_cannot_load_is_held(artifacts: Objects, built: Image, tmp_path: Path) -> None:
    newer = replace(tiny.package(), onnx=tiny.graph(opset=99))
    result = load_and_score(artifacts, built.digest, save(artifacts, tmp_path, newer), built.folder)
    assert not result.ok
    assert "cannot load the model" in result.reason
    assert "opset" in result.reason
    assert result.max_difference is None


def test_a_package_that_is_not_there_is_held(artifacts: Objects, built: Image) -> None:
    result = load_and_score(artifacts, built.digest, "packages/none", built.folder)
    assert not result.ok
    assert "no complete package under packages/none" in result.reason


def test_an_image_that_lacks_a_library_is_held_by_the_library_s_name(artifacts: Objects, built: Image, tmp_path: Path) -> None:
    bare = {**image.manifest_of(artifacts, built.digest), "dependencies": image._store(artifacts, {"nothing.txt": b""})}
    manifest = json.dumps(bare).encode()
    digest = tree.name_of(manifest)
    artifacts.put(image._manifest_key(digest), manifest)
    result = load_and_score(artifacts, digest, "packages/none", tmp_path)
    assert not result.ok
    assert result.reason == "the image cannot score (exit code 1): ModuleNotFoundError: No module named 'pydantic'"


def test_a_store_that_is_away_is_no_verdict(artifacts: Objects, built: Image) -> None:
    away = Objects(artifacts.store.model_copy(update={"endpoint": "http://127.0.0.1:1"}), artifacts.bucket)
    with pytest.raises(UserError, match="cannot be reached"):
        load_and_score(away, built.digest, "packages/none", built.folder)
