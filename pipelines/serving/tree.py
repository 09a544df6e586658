"""Digests of file trees: what an image's layers are known by, and what a server computes of the code it runs.

Packing and unpacking are in `image`. Standard library only.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

CODE_PACKAGES = ("pipelines", "stacks")
"""The project's packages that the serving image carries."""
STAMP = "BUILD.json"
"""Beside them: what the image was built from, in words."""
Files = Mapping[str, Path | bytes]
"""Name in the tree to the file, or to its content."""
CODE, MANIFEST = "code", "manifest.json"
"""Names inside a restored image."""


def digest_of(files: Files) -> str:
    """SHA-256 (hex) over the sorted names and contents of `files`."""
    total = hashlib.sha256()
    for name, content in sorted(files.items(), key=lambda entry: entry[0]):
        total.update(f"{_sha256(content)} {name}\n".encode())
    return total.hexdigest()


def read(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def snapshot(files: Files) -> dict[str, Path | bytes]:
    """Their contents as they are now, so that later edits do not matter."""
    return {name: read(content) for name, content in files.items()}


def _sha256(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def all_files(root: Path) -> Files:
    """Every file below `root` but compiled bytecode, which Python writes as it runs."""
    return {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def code_files(root: Path) -> Files:
    """The Python files of CODE_PACKAGES below `root`, and the build stamp where there is one."""
    paths = [path for package in CODE_PACKAGES for path in (root / package).rglob("*.py")]
    paths += [root / STAMP] if (root / STAMP).is_file() else []
    return {path.relative_to(root).as_posix(): path for path in paths}


def code_root() -> Path:
    """The folder that the running code was imported from: a checkout, or `code/` of a restored image."""
    return Path(__file__).resolve().parents[2]


def code_digest() -> str:
    """Digest of the running code; in a restored image it equals the code layer's digest."""
    return digest_of(code_files(code_root()))


def image_digest() -> str | None:
    """`sha256:…` of the image that this code runs in, or None in a checkout."""
    manifest = code_root().parent / MANIFEST
    if code_root().name != CODE or not manifest.is_file():
        return None
    return name_of(manifest.read_bytes())


def name_of(manifest: bytes) -> str:
    """An image's digest: that of its manifest."""
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def stamp(note: str) -> bytes:
    """Content of the build stamp."""
    return json.dumps({"note": note}).encode()
