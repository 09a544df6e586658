"""The custom resource definitions that our charts bring, from the Go modules that define them (tests/tools/crds/go.mod).

Which chart brings which module stands here; the charts themselves are only recorded.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.engine.api import Api, ApiError
from tests.tools.build import FOLDER as TOOLS
from tests.tools.build import Missing

FOLDER = TOOLS / "crds"
# Where each module keeps them.
PLACES = {
    "github.com/aws/karpenter-provider-aws": "pkg/apis/crds",
    "github.com/cert-manager/cert-manager": "deploy/crds",
    "github.com/envoyproxy/gateway": "charts/gateway-helm/charts/crds/crds/generated",
    "github.com/external-secrets/external-secrets": "config/crds/bases",
    "github.com/prometheus-operator/prometheus-operator": "example/prometheus-operator-crd",
    "github.com/ray-project/kuberay/ray-operator": "config/crd/bases",
    # Envoy Gateway's chart installs the experimental channel, which holds the standard one.
    "sigs.k8s.io/gateway-api": "config/crd/experimental",
    "sigs.k8s.io/karpenter": "pkg/apis/crds",
}
# Establishing takes the API server some hundred milliseconds each, beside one another.
ESTABLISHED_SECONDS = 60
CONFLICT = 409
COLLECTION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class _Loader(yaml.CSafeLoader):
    """libyaml, because these are megabytes; a bare `=` (in an enum of prometheus-operator's) is a string, as in YAML 1.2."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _loader, node: str(node.value))


def definitions() -> list[dict[str, Any]]:
    """Every definition, each name once. Raises build.Missing where there is no go or a module cannot be had."""
    found: dict[str, dict[str, Any]] = {}
    for module, folder in _download().items():
        paths = sorted((folder / PLACES[module]).glob("*.yaml"))
        for definition in (item for path in paths for item in _read(path)):
            # Both Karpenter modules hold the core ones, at one version.
            found.setdefault(definition["metadata"]["name"], definition)
    return list(found.values())


def apply(api: Api, wanted: list[dict[str, Any]]) -> None:
    """Make them and wait until the server serves them. Raises TimeoutError with the names of those it does not."""
    for definition in wanted:
        try:
            api.request("POST", COLLECTION, definition)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
    end = time.monotonic() + ESTABLISHED_SECONDS
    waiting = {item["metadata"]["name"] for item in wanted}
    while waiting:
        # One by one: together they are megabytes.
        waiting = {name for name in waiting if not _established(api.get(f"{COLLECTION}/{name}"))}
        if waiting and time.monotonic() > end:
            raise TimeoutError(f"not established after {ESTABLISHED_SECONDS} s: {', '.join(sorted(waiting))}")
        time.sleep(0.1)


def _established(definition: dict[str, Any] | None) -> bool:
    conditions = (definition or {}).get("status", {}).get("conditions") or []
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


def _download() -> dict[str, Path]:
    """The folder of each module in Go's cache; go itself checks what it fetched against go.sum."""
    pinned = dict(re.findall(r"^\s+(\S+) (v\S+)$", (FOLDER / "go.mod").read_text(), re.MULTILINE))
    # With a version each, or go would read the requirements of all of them.
    command = ["go", "mod", "download", "-json", *(f"{module}@{pinned[module]}" for module in PLACES)]
    try:
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Missing("there is no go to fetch the charts' CRDs with: install it") from error
    answers = list(_objects(done.stdout))
    failures = [f"{item['Path']}: {item['Error']}" for item in answers if "Error" in item]
    if done.returncode or failures:
        raise Missing("the charts' CRDs cannot be had: " + "; ".join(failures or done.stderr.splitlines()[-3:]))
    return {item["Path"]: Path(item["Dir"]) for item in answers}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand one after another in a text."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        yield value
        at += len(text[at:]) - len(text[at:].lstrip())


def _read(path: Path) -> list[dict[str, Any]]:
    documents = yaml.load_all(path.read_text(), Loader=_Loader)  # noqa: S506 - a safe loader
    return [item for item in documents if item and item.get("kind") == "CustomResourceDefinition"]
