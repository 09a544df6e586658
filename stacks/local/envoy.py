"""Envoy's bootstrap for the local gateway: one listener on loopback whose routes and clusters come from files.

What the routes are is the release room's business; here they start empty, answering 503.
"""

import json
from pathlib import Path
from typing import Any

from stacks.local.ports import HOST

TYPE = "type.googleapis.com/envoy"
ROUTES = "serving"


def write_bootstrap(folder: Path, *, port: int, admin_port: int) -> Path:
    """Write bootstrap.json, and empty cds.json and rds.json where there are none; returns the bootstrap's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in (("cds.json", clusters([])), ("rds.json", routes([nothing_serves()]))):
        if not (folder / name).exists():
            (folder / name).write_text(json.dumps(body))
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        # The caller's x-request-id is the key that joins a prediction with its label.
        "preserve_external_request_id": True,
        "rds": {"route_config_name": ROUTES, "config_source": _file(folder, "rds.json")},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"}}],
    }
    bootstrap = {
        "node": {"id": "local", "cluster": "spotforge"},
        "admin": {"address": address(admin_port)},
        "dynamic_resources": {"cds_config": _file(folder, "cds.json")},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": address(port),
                    "filter_chains": [
                        {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
                    ],
                }
            ]
        },
    }
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(bootstrap, indent=1))
    return path


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def clusters(items: list[dict[str, Any]], version: str = "0") -> dict[str, Any]:
    """A file discovery response with these clusters."""
    return {"version_info": version, "resources": [{"@type": f"{TYPE}.config.cluster.v3.Cluster"} | item for item in items]}


def routes(items: list[dict[str, Any]], version: str = "0") -> dict[str, Any]:
    """A file discovery response with one route configuration over these routes."""
    host = {"name": "all", "domains": ["*"], "routes": items}
    table = {"@type": f"{TYPE}.config.route.v3.RouteConfiguration", "name": ROUTES, "virtual_hosts": [host]}
    return {"version_info": version, "resources": [table]}


def nothing_serves() -> dict[str, Any]:
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": '{"error":"no release is serving"}'}},
    }


def _file(folder: Path, name: str) -> dict[str, Any]:
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(folder / name), "watched_directory": {"path": str(folder)}},
    }
