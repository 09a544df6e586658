"""The files the local parts read when they start: Dagster's instance, the store's identity, Envoy's bootstrap."""

import json
from pathlib import Path

from stacks import credentials
from stacks.local import envoy, paths
from stacks.local.ports import HOST, Ports

LOCATION = "spotforge"
"""The code location's name in Dagster, by which jobs are launched and the UI shows them."""


def write(home: Path, ports: Ports) -> None:
    """Make the parts' folders and files. Raises OSError where the state folder is damaged or the disk is full."""
    for name in ("logs", "seaweedfs", "mlflow", "dagster", "supervisor"):
        (home / name).mkdir(exist_ok=True)
    (home / "dagster" / "dagster.yaml").write_text(_dagster())
    paths.workspace(home).write_text(_workspace(ports))
    identity = paths.s3_identity(home)
    identity.touch(mode=0o600)
    identity.write_text(_s3_identity(home))
    envoy.write_bootstrap(home / "envoy", port=ports.gateway, admin_port=ports.gateway_admin)


def _dagster() -> str:
    return (
        "telemetry: {enabled: false}\n"
        "nux: {enabled: false}\n"
        "run_coordinator:\n"
        "  module: dagster._core.run_coordinator\n"
        "  class: QueuedRunCoordinator\n"
        # Two cores: a third run would only slow the other two.
        "  config: {max_concurrent_runs: 2, dequeue_interval_seconds: 1}\n"
        "run_monitoring: {enabled: true, poll_interval_seconds: 10}\n"
    )


def _workspace(ports: Ports) -> str:
    server = {"host": HOST, "port": ports.code_location, "location_name": LOCATION}
    return json.dumps({"load_from": [{"grpc_server": server}]}, indent=1)


def _s3_identity(home: Path) -> str:
    key, secret = credentials.read_file(paths.credentials(home))
    pair = {"accessKey": key, "secretKey": secret}
    identity = {"name": "spotforge", "credentials": [pair], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    return json.dumps({"identities": [identity]})
