"""The Kubernetes provider: any manifest, applied to a real API server that validates it. Helm releases go to helm.py.

What it does with a field (replace it, name it) is what pulumi-kubernetes does; nothing awaits, since nothing runs here.
"""

import random
import string
import threading
import time
from collections.abc import Mapping
from typing import Any

from tests.engine import helm, replacing
from tests.engine.api import NOT_FOUND, Api, ApiError, Where
from tests.engine.backend import Difference, Found, Refused

MANAGER = "pulumi-kubernetes"
APPLY = "application/apply-patch+yaml"
# Written by the server on its own account: no program sets these, and they change when nobody did anything.
SERVERS_OWN = ("managedFields", "resourceVersion", "generation")
# Made by the API server itself for what a program made, or about itself.
NOBODYS = {"APIService", "ComponentStatus", "Event", "Lease", "IPAddress", "CustomResourceDefinition"}
GONE_SECONDS = 30
SUFFIX = 8


class Kubernetes:
    """A Backend. `brought_by` names the charts without whose release a group's kinds count as unknown (crds.BROUGHT_BY)."""

    def __init__(self, api: Api, brought_by: Mapping[str, frozenset[str]] | None = None) -> None:
        self.api = api
        self.releases = helm.Releases(api)
        self.settings: dict[str, dict[str, Any]] = {}
        self._brought_by = brought_by or {}
        self._random = random.Random()
        self._lock = threading.Lock()
        self._before = self._objects()

    def everything(self) -> list[str]:
        """What exists besides what was there at the start, as `Kind namespace/name`; releases too. Empty: nothing is left."""
        objects = self._objects() - self._before
        return sorted(objects) + sorted(f"Release {key}" for key in self.releases.all())

    def configure(self, instance: str, settings: dict[str, Any]) -> None:
        self.settings[instance] = settings

    def check(
        self, kind: str, name: str, inputs: dict[str, Any], old: dict[str, Any] | None, instance: str
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        if kind == helm.KIND:
            return self.releases.check(name, inputs, old)
        if kind.endswith(("Patch", "List")) or kind.split(":")[1].startswith(("helm.sh", "yaml", "kustomize")):
            return inputs, [("kind", f"{kind} is not served in the engine tier")]
        _, version, plain_kind = kind.split(":")
        checked = {"apiVersion": version.removeprefix("core/"), "kind": plain_kind, **inputs}
        metadata = dict(checked.get("metadata") or {})
        if not metadata.get("name") and not metadata.get("generateName"):
            metadata["name"] = self._autoname(name, old)
            metadata["annotations"] = {**metadata.get("annotations", {}), "pulumi.com/autonamed": "true"}
        where = self.api.where(str(checked["apiVersion"]), str(checked["kind"]))
        if where and where.namespaced:
            metadata.setdefault("namespace", "default")
        return {**checked, "metadata": metadata}, []

    def diff(self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str) -> Difference:
        if kind == helm.KIND:
            return self.releases.diff(old_inputs, inputs)
        replaces = replacing.replaces(old_inputs, inputs, self.settings.get(instance, {}))
        first = bool(replaces) and replacing.in_the_way(old_inputs, inputs)
        return Difference(replacing.changes(old_inputs, inputs), replaces, first)

    def preview_create(self, kind: str, urn: str, inputs: dict[str, Any], instance: str) -> dict[str, Any] | None:
        return None if kind == helm.KIND else self._try(inputs)

    def preview_update(
        self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str
    ) -> dict[str, Any] | None:
        return None if kind == helm.KIND else self._try(inputs)

    def create(self, kind: str, urn: str, inputs: dict[str, Any], instance: str) -> Found:
        if kind == helm.KIND:
            return self.releases.create(inputs)
        made = self._apply(inputs)
        return Found(_id(made), inputs, _outputs(made))

    def read(self, kind: str, id: str, instance: str, inputs: dict[str, Any] | None) -> Found | None:
        if kind == helm.KIND:
            return self.releases.read(id)
        _, version, plain_kind = kind.split(":")
        where = self.api.where(version.removeprefix("core/"), plain_kind)
        live = self.api.get(_path(where, id)) if where else None
        if live is None or "deletionTimestamp" in live["metadata"]:
            return None
        return Found(id, self._as_written(live, inputs), _outputs(live))

    def update(self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str) -> dict[str, Any]:
        if kind == helm.KIND:
            return self.releases.update(id, inputs)
        return _outputs(self._apply(inputs))

    def delete(self, kind: str, id: str, outputs: dict[str, Any], instance: str) -> None:
        if kind == helm.KIND:
            self.releases.delete(id)
            return
        _, version, plain_kind = kind.split(":")
        where = self.api.where(version.removeprefix("core/"), plain_kind)
        if where:
            self._delete(where, id)

    def invoke(self, token: str, args: dict[str, Any], instance: str) -> dict[str, Any]:
        raise Refused(f"{token} is not served in the engine tier")

    def _apply(self, inputs: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        metadata = inputs["metadata"]
        where = self.api.where(str(inputs["apiVersion"]), str(inputs["kind"]))
        group = str(inputs["apiVersion"]).rpartition("/")[0]
        needed: frozenset[str] | None = self._brought_by.get(group)
        missing = needed is not None and not needed & self.releases.charts()
        if where is None or missing:
            why = f" (its chart is not installed: {', '.join(sorted(needed))})" if missing and needed else ""
            raise Unserved(f'no matches for kind "{inputs["kind"]}" in version "{inputs["apiVersion"]}"{why}')
        # Another writer's field is a conflict, as it is for users, unless the object says otherwise.
        force = (metadata.get("annotations") or {}).get("pulumi.com/patchForce") == "true"
        query = {"fieldManager": MANAGER, "force": str(force).lower(), **({"dryRun": "All"} if dry_run else {})}
        path = where.path(metadata["name"], metadata.get("namespace"))
        return self.api.request("PATCH", path, inputs, query=query, content=APPLY)

    def _try(self, inputs: dict[str, Any]) -> dict[str, Any] | None:
        """What the server would make of it, or None where it cannot say yet: no such namespace or no such kind so far."""
        try:
            return _outputs(self._apply(inputs, dry_run=True))
        except Unserved:
            return None
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def _as_written(self, live: dict[str, Any], inputs: dict[str, Any] | None) -> dict[str, Any]:
        """The live object in the shape of a program: unchanged inputs where applying them again would change nothing."""
        if inputs is None:
            return _import(live)
        drifted: dict[str, Any] = _prune(live, inputs)
        try:
            again = self._apply(inputs, dry_run=True)
        except (ApiError, Unserved):
            # A field that another writer took, or that is no longer valid.
            return drifted
        return inputs if _outputs(again) == _outputs(live) else drifted

    def _delete(self, where: Where, id: str) -> None:
        path = _path(where, id)
        # Not in the foreground: the finalizer of that waits for a garbage collector, and no controller runs here.
        try:
            self.api.request("DELETE", path, {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
        if where.kind == "Namespace":
            self._empty_namespace(id)
        end = time.monotonic() + GONE_SECONDS
        while (live := self.api.get(path)) is not None:
            if time.monotonic() > end:
                raise Refused(f"{where.kind} {id} is still there {GONE_SECONDS} s after its deletion")
            if live["metadata"].get("finalizers"):
                # Of controllers that do not run here (a claim's protection): nobody else would take them off.
                patch = {"metadata": {"finalizers": None}}
                self._quietly("PATCH", path, patch, content="application/merge-patch+json")
            time.sleep(0.05)

    def _empty_namespace(self, name: str) -> None:
        """What the namespace controller does: delete all that is in it, then take the finalizer off the spec."""
        for where in self.api.listable():
            if where.namespaced and "deletecollection" in where.verbs:
                self._quietly("DELETE", where.path(namespace=name), {"propagationPolicy": "Background"})
        self._quietly("PUT", f"/api/v1/namespaces/{name}/finalize", {"metadata": {"name": name}, "spec": {"finalizers": []}})

    def _quietly(self, method: str, path: str, body: dict[str, Any], content: str = "application/json") -> None:
        try:
            self.api.request(method, path, body, content=content)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    def _autoname(self, name: str, old: dict[str, Any] | None) -> str:
        if old and replacing.autonamed(old):
            return str(old["metadata"]["name"])
        with self._lock:
            suffix = "".join(self._random.choices(string.ascii_lowercase + string.digits, k=SUFFIX))
        return f"{name}-{suffix}"

    def _objects(self) -> set[str]:
        kinds = [where for where in self.api.listable() if where.kind not in NOBODYS]
        return {f"{where.kind} {_id(item)}" for where in kinds for item in self.api.request("GET", where.path())["items"]}


class Unserved(Refused):
    """The server knows no such kind, at least not yet."""


def _id(live: dict[str, Any]) -> str:
    metadata = live["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def _path(where: Where, id: str) -> str:
    namespace, _, name = id.rpartition("/")
    return where.path(name, namespace or ("default" if where.namespaced else None))


def _outputs(live: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in live["metadata"].items() if key not in SERVERS_OWN}
    return {**live, "metadata": metadata}


def _import(live: dict[str, Any]) -> dict[str, Any]:
    own = {"uid", "creationTimestamp", *SERVERS_OWN}
    metadata = {key: value for key, value in live["metadata"].items() if key not in own}
    return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}


def _prune(live: Any, written: Any) -> Any:
    """The live values of the fields that a program wrote; a list is taken whole, for its order and length are values too."""
    if isinstance(live, dict) and isinstance(written, dict):
        return {key: _prune(live[key], value) for key, value in written.items() if key in live}
    return live
