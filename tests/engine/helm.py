"""Helm releases, recorded: nothing is rendered, as no chart repository can be reached, so what a chart makes is not proven.

Chart, version, namespace, repository and values are kept as they came; the custom resources of a chart are crds.py's.
"""

import copy
import threading
from typing import Any

from tests.engine.api import Api, ApiError
from tests.engine.backend import Difference, Found, Refused
from tests.engine.replacing import changes

KIND = "kubernetes:helm.sh/v3:Release"
CONFLICT = 409


class Releases:
    """By `namespace/name`, as Helm keeps them: one that exists already is an error, one that is gone is None."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._kept: dict[str, dict[str, Any]] = {}

    def all(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            return copy.deepcopy(self._kept)

    def charts(self) -> set[str]:
        """The last word of each chart's name, which for an OCI reference is the chart."""
        return {str(item["chart"]).rpartition("/")[2] for item in self.all().values()}

    def check(
        self, name: str, inputs: dict[str, Any], old: dict[str, Any] | None
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        checked = {"namespace": "default", **inputs}
        # Helm's own default, plus what the provider appends; a program of ours names every release.
        checked.setdefault("name", (old or {}).get("name") or name)
        missing = [(key, "a release needs it") for key in ("chart", "version") if not checked.get(key)]
        return checked, missing

    def diff(self, old: dict[str, Any], new: dict[str, Any]) -> Difference:
        replaces = tuple(key for key in ("name", "namespace") if old.get(key) != new.get(key))
        return Difference(changes(old, new), replaces)

    def create(self, inputs: dict[str, Any]) -> Found:
        namespace, key = inputs["namespace"], f"{inputs['namespace']}/{inputs['name']}"
        if inputs.get("createNamespace"):
            self._create_namespace(namespace)
        elif self._api.get(f"/api/v1/namespaces/{namespace}") is None:
            raise Refused(f'create: failed to create: namespaces "{namespace}" not found')
        with self._lock:
            if key in self._kept:
                raise Refused(f"cannot re-use a name that is still in use: {key}")
            self._kept[key] = {**inputs, "revision": 1}
        return Found(key, inputs, self._outputs(key))

    def read(self, key: str) -> Found | None:
        kept = self.all().get(key)
        if kept is None:
            return None
        inputs = {name: value for name, value in kept.items() if name != "revision"}
        return Found(key, inputs, self._outputs(key))

    def update(self, key: str, inputs: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if key not in self._kept:
                raise Refused(f"release: not found: {key}")
            self._kept[key] = {**inputs, "revision": self._kept[key]["revision"] + 1}
        return self._outputs(key)

    def delete(self, key: str) -> None:
        with self._lock:
            self._kept.pop(key, None)

    def _create_namespace(self, namespace: str) -> None:
        # As Helm does: made here, and left behind when the release goes.
        try:
            self._api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        except ApiError as error:
            if error.status != CONFLICT:
                raise

    def _outputs(self, key: str) -> dict[str, Any]:
        kept = self.all()[key]
        revision = kept.pop("revision")
        status = {"name": kept["name"], "namespace": kept["namespace"], "chart": kept["chart"], "version": kept["version"]}
        return {**kept, "resourceNames": {}, "status": {**status, "revision": revision, "status": "deployed"}}
