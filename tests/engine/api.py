"""A small client of the Kubernetes API: JSON over mutual TLS, and where each kind's objects are found (discovery).

What is applied, and how, belongs to kubernetes.py; starting the server to control_plane.py.
"""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from tests.engine.backend import Refused

TIMEOUT_SECONDS = 30
NOT_FOUND = 404
ERRORS = 400
NOT_YET = 429


class ApiError(Refused):
    """The API server's own words, and its status."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.reason = str(body.get("reason", ""))
        super().__init__(str(body.get("message", body)))


@dataclass(frozen=True)
class Where:
    """The path of a kind's collection, by namespace where it has one."""

    prefix: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ()

    def path(self, name: str | None = None, namespace: str | None = None) -> str:
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Api:
    """Safe to share between threads."""

    def __init__(self, address: str, *, ca: Path, certificate: Path, key: Path) -> None:
        self.address = address
        # As many connections as the providers have threads: more would be thrown away with a warning.
        self._pool = urllib3.PoolManager(
            maxsize=32, ca_certs=str(ca), cert_file=str(certificate), key_file=str(key), retries=False, timeout=TIMEOUT_SECONDS
        )
        self._kinds: dict[str, dict[str, Where]] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        """The decoded answer. Raises ApiError from status 400 on."""
        url = self.address + path + (f"?{urlencode(query)}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": content, "Accept": "application/json"}
        end = time.monotonic() + TIMEOUT_SECONDS
        answer = self._pool.request(method, url, body=data, headers=headers)
        # The store of a kind whose definition has just come is not open yet.
        while answer.status == NOT_YET and time.monotonic() < end:
            time.sleep(0.1)
            answer = self._pool.request(method, url, body=data, headers=headers)
        decoded: dict[str, Any] = json.loads(answer.data)
        if answer.status >= ERRORS:
            raise ApiError(answer.status, decoded)
        return decoded

    def text(self, path: str) -> str:
        return self._pool.request("GET", self.address + path).data.decode()

    def get(self, path: str) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def where(self, api_version: str, kind: str) -> Where | None:
        """Where a kind's objects are, or None where the server knows no such kind (a CRD that is not there yet)."""
        with self._lock:
            if kind not in self._kinds.get(api_version, {}):
                # Asked again each time it is not known: a CRD may have come meanwhile.
                self._kinds[api_version] = self._discover(api_version)
            return self._kinds[api_version].get(kind)

    def listable(self) -> list[Where]:
        """Every kind that can be listed, each once, in its group's preferred version."""
        groups = [group["preferredVersion"]["groupVersion"] for group in self.request("GET", "/apis")["groups"]]
        found = [item for version in ["v1", *groups] for item in self._discover(version).values()]
        return [item for item in found if "list" in item.verbs]

    def _discover(self, api_version: str) -> dict[str, Where]:
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        listing = self.get(prefix)
        return {
            item["kind"]: Where(prefix, item["name"], item["kind"], item["namespaced"], tuple(item["verbs"]))
            for item in (listing or {}).get("resources", [])
            if "/" not in item["name"]
        }
