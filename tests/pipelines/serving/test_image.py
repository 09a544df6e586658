"""The local image: same inputs, same digest; built, restored, damaged, and run on its own."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from pipelines.objects import ObjectMissing, Objects
from pipelines.serving import closure, image, tree
from stacks.errors import UserError
from tests.pipelines.serving.conftest import Image
from tests.pipelines.serving.process import ROOT


def run(python: Path, code: str, cwd: Path = ROOT) -> str:
    """What `code` prints in the image's python, started where the checkout would tempt it."""
    tempted = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=cwd, env=tempted, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_inputs_make_the_same_image_quickly(artifacts: Objects, built: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built.build_s <= 10, "the first build; seconds of CPU, as the machine may be busy"
    code = tree.snapshot(tree.code_files(ROOT))  # somebody may be editing it
    monkeypatch.setattr(tree, "code_files", lambda _: code)
    first = image.build(artifacts, version_note="twice")
    began = time.process_time()
    assert image.build(artifacts, version_note="twice") == first
    assert time.process_time() - began < 5, "with its layers stored already"


def test_another_commit_is_another_image_over_the_same_dependencies(artifacts: Objects, built: Image) -> None:
    other = image.build(artifacts, version_note="another commit")
    assert other != built.digest
    one, two = image.manifest_of(artifacts, built.digest), image.manifest_of(artifacts, other)
    assert one["dependencies"] == two["dependencies"]
    assert one["code"] != two["code"]
    assert image.sizes(artifacts, other)["code"] < 1_000_000, "that is all a code change uploads"


@pytest.mark.parametrize("library", ["dagster", "mlflow", "polars", "xgboost", "pulumi", "pytest"])
def test_the_image_has_no_part_of_the_platform_s_environment(built: Image, library: str) -> None:
    found = run(built.python, f"import importlib.util; print(importlib.util.find_spec({library!r}))")
    assert found == "None"


def test_the_image_runs_its_own_code_and_libraries(built: Image) -> None:
    home = built.python.parents[1]
    code = "import pipelines.serving.server as s, deltalake, onnxruntime, uvicorn; print(s.__file__, onnxruntime.__file__)"
    server, library = run(built.python, code).split()
    assert Path(server) == home / tree.CODE / "pipelines" / "serving" / "server.py"
    assert built.folder in Path(library).parents
    where = json.loads(run(built.python, "import sys, json; print(json.dumps(sys.path))"))
    assert not [entry for entry in where if entry.startswith((str(ROOT), str(Path.home() / ".local")))]
    assert "" not in where


def test_the_image_knows_its_digests(artifacts: Objects, built: Image) -> None:
    code = "from pipelines.serving import tree; print(tree.image_digest(), tree.code_digest())"
    assert run(built.python, code).split() == [built.digest, image.manifest_of(artifacts, built.digest)["code"]]
    assert tree.image_digest() is None, "a checkout is no image"


def test_every_library_of_the_group_is_in_the_image(artifacts: Objects, built: Image) -> None:
    listed = image.manifest_of(artifacts, built.digest)["distributions"]
    for requirement in closure.group(ROOT / "pyproject.toml"):
        assert requirement.split(">")[0] in listed
    assert "botocore" in listed, "what a library requires comes with it"
    assert "dagster" not in listed


def test_restoring_again_changes_nothing(artifacts: Objects, built: Image) -> None:
    before = built.python.parents[1].stat().st_ino
    assert image.restore(artifacts, built.digest, built.folder) == built.python
    assert built.python.parents[1].stat().st_ino == before


def test_unpacked_code_that_was_altered_is_replaced(artifacts: Objects, built: Image) -> None:
    altered = built.python.parents[1] / tree.CODE / "stacks" / "errors.py"
    sound = altered.read_bytes()
    altered.write_text("raise SystemExit('altered')")
    image.restore(artifacts, built.digest, built.folder)
    assert altered.read_bytes() == sound
    run(built.python, "import stacks.errors")


@pytest.fixture
def small(artifacts: Objects, built: Image) -> str:
    """An image of a few kilobytes: no dependencies, two files of code."""
    layers = {
        "dependencies": image._store(artifacts, {"nothing.txt": b""}),
        "code": image._store(artifacts, {"pipelines/a.py": b"1", "stacks/b.py": b"2"}),
    }
    manifest = json.dumps({**image.manifest_of(artifacts, built.digest), **layers}).encode()
    digest = tree.name_of(manifest)
    artifacts.put(image._manifest_key(digest), manifest)
    return digest


def restore_from(artifacts: Objects, digest: str, folder: Path) -> Path:
    return image.restore(artifacts, digest, folder)


def test_two_may_restore_at_once(artifacts: Objects, small: str, tmp_path: Path) -> None:
    fresh = Objects(artifacts.store, artifacts.bucket)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        both = list(pool.map(restore_from, [fresh] * 2, [small] * 2, [tmp_path] * 2))
    assert both[0] == both[1]
    assert run(both[0], "print(1)") == "1"
    assert not list(tmp_path.glob(f"*{image.UNDONE}"))


def test_a_restore_that_was_killed_is_done_again(artifacts: Objects, small: str, tmp_path: Path) -> None:
    torn = tmp_path / f"{small.removeprefix('sha256:')}{image.UNDONE}" / tree.CODE / "pipelines"
    torn.mkdir(parents=True)
    (torn / "a.py").write_text("to")
    python = image.restore(artifacts, small, tmp_path)
    assert (python.parents[1] / tree.CODE / "pipelines" / "a.py").read_text() == "1"
    assert not list(tmp_path.glob(f"*{image.UNDONE}"))


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", image._pack({"pipelines/a.py": b"1", "stacks/b.py": b"altered"}), image._pack({"pipelines/a.py": b"1"})],
)
def test_an_altered_layer_is_refused_by_name(artifacts: Objects, small: str, tmp_path: Path, body: bytes) -> None:
    layer = image.manifest_of(artifacts, small)["code"]
    sound = artifacts.get(image._layer_key(layer))
    artifacts.put(image._layer_key(layer), body)
    try:
        with pytest.raises(UserError, match=f"{layer}.tar.zst is torn or was altered"):
            image.restore(artifacts, small, tmp_path)
    finally:
        artifacts.put(image._layer_key(layer), sound)
    assert not (tmp_path / small.removeprefix("sha256:")).exists()


def test_a_missing_image_is_refused(artifacts: Objects, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no image sha256:0000"):
        image.restore(artifacts, "sha256:0000", tmp_path)


def test_an_altered_manifest_is_refused(artifacts: Objects, small: str, tmp_path: Path) -> None:
    key = image._manifest_key(small)
    artifacts.put(key, artifacts.get(key).replace(b'"note"', b'"nota"'))
    with pytest.raises(UserError, match="was altered"):
        image.restore(artifacts, small, tmp_path)


def test_an_image_for_another_python_is_refused(artifacts: Objects, small: str, tmp_path: Path) -> None:
    manifest = json.dumps({**image.manifest_of(artifacts, small), "python": "3.9"}).encode()
    digest = tree.name_of(manifest)
    artifacts.put(image._manifest_key(digest), manifest)
    with pytest.raises(UserError, match=r"made for Python 3\.9"):
        image.restore(artifacts, digest, tmp_path)


def test_a_full_disk_is_one_line(artifacts: Objects, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="No space left on device"):
        image.restore(artifacts, small, tmp_path)


def test_a_library_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-library, which is not installed"):
        closure.distributions(["no-such-library>=1"])
    with pytest.raises(UserError, match="no dependency group"):
        closure.group(tmp_path / "pyproject.toml")


def test_extras_and_markers_are_heeded() -> None:
    assert "uvicorn" in closure.distributions(["uvicorn; python_version >= '3'"])
    assert "pywin32" not in closure.distributions(["uvicorn"])
    assert set(closure.distributions(["mypy"])) < set(closure.distributions(["moto[s3]", "mypy"]))
    assert "py-partiql-parser" in closure.distributions(["moto[s3]"])
    assert "py-partiql-parser" not in closure.distributions(["moto"])


def test_a_layer_is_stored_once(artifacts: Objects, small: str) -> None:
    layer = image.manifest_of(artifacts, small)["code"]
    before = next(iter(artifacts.list(image._layer_key(layer))))
    assert image._store(artifacts, {"stacks/b.py": b"2", "pipelines/a.py": b"1"}) == layer
    assert next(iter(artifacts.list(image._layer_key(layer)))) == before
    with pytest.raises(ObjectMissing):
        artifacts.size(image._layer_key("0" * 64))
    assert sys.version_info[:2] == tuple(int(part) for part in image.PYTHON.split("."))
