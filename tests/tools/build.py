"""The Go tools that tests run: the one on PATH where there is one, else built once from `tests/tools/*/go.mod` into a cache.

Which tools there are and how each is built stands here; starting them belongs to the tiers.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

FOLDER = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spotforge" / "tools"

PULUMI_VERSION = "3.259.0"
KUBERNETES_VERSION = "1.36.1"


@dataclass(frozen=True)
class Tool:
    """One program: the folder of its go.mod, its package, and what the linker is told."""

    module: str
    package: str
    flags: tuple[str, ...] = ()
    on_path: bool = True
    """Whether any version on PATH will do."""


_BASE = "k8s.io/component-base/version"
_MAJOR, _MINOR, _ = KUBERNETES_VERSION.split(".")
# Profile-guided optimisation makes the build three times as long and tests no faster.
_KUBERNETES = (
    "-pgo=off",
    "-ldflags",
    f"-s -w -X {_BASE}.gitVersion=v{KUBERNETES_VERSION} -X {_BASE}.gitMajor={_MAJOR} -X {_BASE}.gitMinor={_MINOR}",
)
TOOLS = {
    "pulumi": Tool(
        "pulumi",
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        (
            "-tags",
            "osusergo,grpcnotrace",
            "-ldflags",
            f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{PULUMI_VERSION}",
        ),
    ),
    "etcd": Tool("kubernetes", "go.etcd.io/etcd/server/v3", ("-ldflags", "-s -w")),
    "kube-apiserver": Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", _KUBERNETES),
}


class Missing(Exception):
    """A tool is neither on PATH nor can it be built here; the message says why and what to do."""


def path(name: str) -> Path:
    """Where the tool `name` is; builds it first (minutes, once a version) when it is nowhere. Raises Missing."""
    tool = TOOLS[name]
    if tool.on_path and (found := shutil.which(name)):
        return Path(found)
    target = CACHE / f"{name}-{_key(tool)}"
    if target.is_file():
        return target
    if shutil.which("go") is None:
        raise Missing(f"{name} is not on PATH and there is no go to build it: install either")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Test workers and a second run wait here instead of building the same thing beside each other.
    with FileLock(f"{target}.lock"):
        if not target.is_file():
            _build(tool, target)
    return target


def _key(tool: Tool) -> str:
    """Changes with whatever the program is made of, so that a cache never serves yesterday's."""
    folder = FOLDER / tool.module
    digest = hashlib.sha256(" ".join((tool.package, *tool.flags)).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def _build(tool: Tool, target: Path) -> None:
    partial = target.with_suffix(".partial")
    command = ["go", "build", "-trimpath", *tool.flags, "-o", str(partial), tool.package]
    done = subprocess.run(
        command, cwd=FOLDER / tool.module, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-5:])
        raise Missing(f"`{' '.join(command)}` in tests/tools/{tool.module} failed:\n{tail}")
    partial.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the Go tools that the engine tier runs, and print where they are.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(sorted(TOOLS))}; all when none is given")
    names = parser.parse_args().names or sorted(TOOLS)
    if unknown := [name for name in names if name not in TOOLS]:
        parser.error(f"there is no tool {unknown[0]!r}; choose from {', '.join(sorted(TOOLS))}")
    for name in names:
        try:
            sys.stdout.write(f"{name}: {path(name)}\n")
        except Missing as error:
            raise SystemExit(str(error)) from error
        sys.stdout.flush()


if __name__ == "__main__":
    main()
