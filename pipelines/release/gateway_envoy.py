"""The gateway as a local Envoy: routes and clusters by files that it watches, counts from its admin interface.

What the routes should be is the controller's business; the bootstrap is `stacks.local.envoy`.
"""

import hashlib
import http.client
import json
import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.release.platform import Arm, Endpoint, Routes, Traffic
from stacks.errors import UserError
from stacks.local import envoy
from stacks.outputs import StackOutputs

ADMIN_S = 2.0
# Envoy takes a file in some 20 ms; one that it has not taken by then it refuses, or it is not running.
TAKEN_S = 5.0
POLL_S = 0.01
# Worker threads take a new route table within microseconds of the main thread; two quiet looks this far apart are proof enough.
QUIET_S = 0.05
# A mirror that stalls may hold this many connections and as many waiting copies; further copies fail at once.
MIRROR_LIMIT = 100
# Predictions are idempotent. Six tries with random pauses of 1.7 s together, in the mean, bridge the second or so that a killed
# server is away, and end before the caller's own timeout of 2 s.
RETRY = {
    "retry_on": "connect-failure,refused-stream,reset",
    "num_retries": 6,
    "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
}
# Envoy's own limit is three at a time: then a killed server fails every caller but three.
RETRIES_AT_ONCE = 1000
LIVE, MIRROR = "live-", "mirror-"
_COUNTER = re.compile(r"cluster\.(live|mirror)-([\w-]+)\.(?:retry\.)?upstream_rq_(\w+)$")


class EnvoyGateway:
    """Implements `platform.Gateway`."""

    def __init__(self, outputs: StackOutputs) -> None:
        if outputs.state_dir is None:
            raise UserError("the outputs name no state folder, so there is no local gateway", "Run `spotforge up`.")
        self._folder = Path(outputs.state_dir) / "envoy"
        self._admin = outputs.gateway.admin_url

    def apply(self, routes: Routes) -> None:
        """New clusters first, then the routes, then, once nobody is being answered by them, the old clusters go."""
        wanted = _clusters(routes)
        before = self._current_clusters()
        if before != wanted:
            # A cluster whose servers moved is changed in place; Envoy drains the old connections.
            self._take("cds.json", envoy.clusters(list({**before, **wanted}.values())), self._clusters_version)
        self._take("rds.json", envoy.routes(_routes(routes)), self._routes_version)
        leaving = before.keys() - wanted.keys()
        if leaving:
            self._await_quiet(leaving, routes.timeout_ms / 1000)
            self._take("cds.json", envoy.clusters(list(wanted.values())), self._clusters_version)

    def observe(self, slo_ms: int) -> Traffic:
        counters: dict[tuple[str, str], dict[str, int]] = {}
        times: dict[tuple[str, str], tuple[int, int]] = {}
        found = self._get(r"/stats?format=json&histogram_buckets=detailed&filter=^cluster\.(live|mirror)-.*upstream_rq_")
        for entry in found["stats"]:
            if "histograms" in entry:
                for histogram in entry["histograms"]["details"]:
                    match = _COUNTER.match(histogram["name"])
                    if match and match[3] == "time":
                        buckets = histogram["totals"]
                        over = sum(bucket["count"] for bucket in buckets if bucket["lower_bound"] >= slo_ms)
                        times[match[1], match[2]] = (sum(bucket["count"] for bucket in buckets), over)
            elif (match := _COUNTER.match(entry["name"])) and ".retry." not in entry["name"]:
                counters.setdefault((match[1], match[2]), {})[match[3]] = entry["value"]
        arms: dict[str, dict[str, Arm]] = {"live": {}, "mirror": {}}
        for (kind, release), counts in counters.items():
            timed, over = times.get((kind, release), (0, 0))
            retried = counts.get("retry", 0)
            arms[kind][release] = Arm(
                counts.get("completed", 0) + retried, counts.get("5xx", 0) + retried, timed, over
            )  # fmt: skip
        return Traffic(arms["live"], arms["mirror"])

    def _current_clusters(self) -> dict[str, Any]:
        listed = _read(self._folder / "cds.json").get("resources", [])
        return {item["name"]: {key: value for key, value in item.items() if key != "@type"} for item in listed}

    def _take(self, name: str, body: dict[str, Any], taken: Callable[[], str | None]) -> None:
        """Put the file in place and wait until Envoy has it. Raises UserError when it does not take it."""
        path = self._folder / name
        standing = _read(path)
        if standing.get("resources") == body["resources"]:
            # Envoy keeps the version under which it first saw the same content.
            version = standing.get("version_info")
        else:
            version = hashlib.sha256(json.dumps(body["resources"], sort_keys=True).encode()).hexdigest()[:12]
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(body | {"version_info": version}, indent=1))
            fresh.replace(path)
        deadline = time.monotonic() + TAKEN_S
        while taken() != version:
            if time.monotonic() > deadline:
                raise UserError(f"the gateway does not take {path}", "See `spotforge logs envoy`.")
            time.sleep(POLL_S)

    def _clusters_version(self) -> str | None:
        """The version of the newest clusters, once all of them are warm."""
        dump = self._get("/config_dump")["configs"]
        part: dict[str, Any] = next((item for item in dump if item["@type"].endswith("ClustersConfigDump")), {})
        return None if part.get("dynamic_warming_clusters") else part.get("version_info")

    def _routes_version(self) -> str | None:
        found = self._get("/config_dump?resource=dynamic_route_configs").get("configs", [])
        return next((item.get("version_info") for item in found), None)

    def _await_quiet(self, clusters: "set[str]", at_most_s: float) -> None:
        deadline = time.monotonic() + at_most_s
        quiet = 0
        while quiet < 2 and time.monotonic() < deadline:  # noqa: PLR2004 - see QUIET_S
            stats = self._get(r"/stats?format=json&filter=upstream_rq_(active|pending_active)$")["stats"]
            names = {f"cluster.{name}.upstream_rq_{kind}" for name in clusters for kind in ("active", "pending_active")}
            quiet = 0 if any(entry["value"] for entry in stats if entry.get("name") in names) else quiet + 1
            time.sleep(QUIET_S)

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self._admin + path, timeout=ADMIN_S) as answer:  # noqa: S310 - our own loopback address
                return json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise UserError(
                f"the gateway at {self._admin} does not answer ({type(error).__name__})", "Run `spotforge status`, then `up`."
            ) from error


def _read(path: Path) -> dict[str, Any]:
    """The discovery response that stands there; empty where it is missing or damaged, so that it is written anew."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found.get("resources"), list) else {}


def _clusters(routes: Routes) -> dict[str, dict[str, Any]]:
    """Callers' and copies' requests go through clusters of their own, so that they are counted and limited apart."""
    wanted = {f"{LIVE}{name}": _cluster(f"{LIVE}{name}", routes.endpoints[name]) for name, weight in _shares(routes).items()}
    if routes.mirror:
        name = f"{MIRROR}{routes.mirror}"
        limit = {"max_connections": MIRROR_LIMIT, "max_pending_requests": MIRROR_LIMIT, "max_requests": 2 * MIRROR_LIMIT}
        breakers = {"thresholds": [{"priority": "DEFAULT", **limit}]}
        wanted[name] = _cluster(name, routes.endpoints[routes.mirror]) | {"circuit_breakers": breakers}
    return wanted


def _cluster(name: str, endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    if not endpoints:
        raise UserError(f"{name} has no server to route to", "Wait until its servers are ready.")
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": server.host, "port_value": server.port}}}}
        for server in endpoints
    ]
    return {
        "name": name,
        "type": "STATIC",
        # Loopback answers a connect at once, or never.
        "connect_timeout": "0.5s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", "max_retries": RETRIES_AT_ONCE}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
    }


def _routes(routes: Routes) -> list[dict[str, Any]]:
    """At most two routes: the mirror's own share of callers, then everybody else with a copy to the mirror."""
    shares = _shares(routes)
    if not shares:
        return [envoy.nothing_serves()]
    common: dict[str, Any] = {"timeout": f"{routes.timeout_ms / 1000:g}s", "retry_policy": RETRY}
    found: list[dict[str, Any]] = []
    own = shares.pop(routes.mirror, 0) if routes.mirror and len(shares) > 1 else 0
    if own:
        fraction = {"default_value": {"numerator": own, "denominator": "HUNDRED"}}
        match = {"prefix": "/", "runtime_fraction": fraction}
        found.append({"match": match, "route": common | {"cluster": f"{LIVE}{routes.mirror}"}})
    weighted = [{"name": f"{LIVE}{name}", "weight": weight} for name, weight in shares.items()]
    rest = common | {"weighted_clusters": {"clusters": weighted}}
    if routes.mirror and routes.mirror not in shares:
        rest["request_mirror_policies"] = [{"cluster": f"{MIRROR}{routes.mirror}"}]
    return [*found, {"match": {"prefix": "/"}, "route": rest}]


def _shares(routes: Routes) -> dict[str, int]:
    shares: Mapping[str, int] = {name: weight for name, weight in routes.weights.items() if weight > 0}
    if shares and sum(shares.values()) != 100:  # noqa: PLR2004 - percent
        raise ValueError(f"weights must sum to 100: {dict(shares)}")
    return dict(shares)
