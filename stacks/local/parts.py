"""The parts of the local stack: what each one runs, and the probe that says it is ready.

No process is started here; `stacks.local.stack` does that.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.local import envoy, paths
from stacks.local.ports import HOST, Ports
from stacks.local.supervisor import Program
from stacks.outputs import ENV as OUTPUTS_ENV
from stacks.outputs import StackOutputs

PARTS = ("seaweedfs", "mlflow", "code-location", "dagster-webserver", "dagster-daemon", "envoy", "release-controller")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Part:
    """One part: its program, its address for people, and `ready`, which answers True once it works."""

    program: Program
    address: str
    ready: Callable[[], bool]


def environment(home: Path, outputs: StackOutputs) -> dict[str, str]:
    """What every process of the stack carries. No telemetry leaves the machine; loopback goes by no proxy."""
    return {
        paths.ENV: str(home),
        OUTPUTS_ENV: str(paths.outputs(home)),
        "SPOTFORGE_MODEL": outputs.model,
        "DAGSTER_HOME": str(home / "dagster"),
        "MLFLOW_TRACKING_URI": outputs.tracking.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        # OpenMP threads that spin while they wait make XGBoost ten times slower on two cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        # glibc keeps an arena a thread; with many threads that doubles the resident size of the Python servers.
        "MALLOC_ARENA_MAX": "2",
        "NO_PROXY": HOST,
        "no_proxy": HOST,
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def build(home: Path, ports: Ports, outputs: StackOutputs) -> dict[str, Part]:
    """Every part by name; writes the configuration files the programs read."""
    _write_dagster(home, ports)
    _write_s3_identity(home)
    bootstrap = envoy.write_bootstrap(home / "envoy", port=ports.gateway, admin_port=ports.gateway_admin)
    (home / "seaweedfs").mkdir(exist_ok=True)
    (home / "mlflow").mkdir(exist_ok=True)
    dagster, mlflow, admin = outputs.orchestration.url, outputs.tracking.uri, outputs.gateway.admin_url
    grpc = ["--grpc-host", HOST, "--grpc-port", str(ports.code_location)]
    python = [sys.executable, "-m"]

    def part(
        name: str, command: list[str], address: str, ready: Callable[[], bool], extra: dict[str, str] | None = None
    ) -> Part:
        program = Program(name, tuple(command), extra or {}, paths.PROJECT)
        return Part(program, address, ready)

    credentials = {
        "AWS_SHARED_CREDENTIALS_FILE": str(paths.credentials(home)),
        "AWS_DEFAULT_REGION": outputs.object_store.region,
    }
    found = [
        part("seaweedfs", _seaweed(home, ports), outputs.object_store.endpoint or "", lambda: _buckets(outputs)),
        part(
            "mlflow",
            [*python, "mlflow", "server", "--host", HOST, "--port", str(ports.mlflow), "--workers", "1"]
            + ["--backend-store-uri", f"sqlite:///{home / 'mlflow' / 'mlflow.db'}", "--serve-artifacts"]
            + ["--artifacts-destination", f"s3://{outputs.object_store.buckets.artifacts}/mlflow"]
            + ["--allowed-hosts", f"{HOST}:*,localhost:*"],
            mlflow,
            lambda: _http(f"{mlflow}/health"),
            {
                **credentials,
                "MLFLOW_S3_ENDPOINT_URL": outputs.object_store.endpoint or "",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
        ),
        part(
            "code-location",
            [
                *python,
                "dagster",
                "api",
                "grpc",
                "-m",
                "pipelines.definitions",
                "--host",
                HOST,
                "--port",
                str(ports.code_location),
            ]
            + ["--location-name", "spotforge"],
            f"{HOST}:{ports.code_location}",
            lambda: _dagster(
                dagster,
                _LOCATION_QUERY,
                lambda data: bool(
                    data["workspaceOrError"]["locationEntries"][0]["locationOrLoadError"]["__typename"] == "RepositoryLocation"
                ),
            ),
        ),
        part(
            "dagster-webserver",
            [*python, "dagster_webserver", "--host", HOST, "--port", str(ports.dagster), *grpc],
            dagster,
            lambda: _http(f"{dagster}/server_info"),
        ),
        part(
            "dagster-daemon",
            [str(BIN / "dagster-daemon"), "run", *grpc],
            "-",
            lambda: _dagster(
                dagster,
                _DAEMON_QUERY,
                lambda data: all(s["healthy"] for s in data["instance"]["daemonHealth"]["allDaemonStatuses"] if s["required"]),
            ),
        ),
        part(
            "envoy",
            [str(BIN / "envoy"), "-c", str(bootstrap), "--concurrency", "1", "--disable-hot-restart", "-l", "warn"],
            outputs.gateway.url,
            lambda: _http(f"{admin}/ready"),
        ),
        part(
            "release-controller",
            [*python, "pipelines.release.controller", "--outputs", str(paths.outputs(home))],
            "-",
            lambda: _fresh(home / "controller.json"),
        ),
    ]
    return {item.program.name: item for item in found}


_LOCATION_QUERY = "{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{__typename}}}}}"
_DAEMON_QUERY = "{instance{daemonHealth{allDaemonStatuses{required healthy}}}}"
FRESH_S = 15.0
"""The controller writes its status each tick; an older one is a dead controller's."""


def _seaweed(home: Path, ports: Ports) -> list[str]:
    flags = {
        "dir": home / "seaweedfs",
        "ip": HOST,
        "ip.bind": HOST,
        "master.port": ports.weed_master,
        "master.port.grpc": ports.weed_master_grpc,
        "volume.port": ports.weed_volume,
        "volume.port.grpc": ports.weed_volume_grpc,
        "filer.port": ports.weed_filer,
        "filer.port.grpc": ports.weed_filer_grpc,
        "s3.port": ports.s3,
        "s3.port.grpc": ports.weed_s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": home / "seaweedfs.json",
        "s3.autoCreateBucket": "false",
        "admin.port": ports.weed_admin,
        "admin.port.grpc": ports.weed_admin_grpc,
        "admin.ui": "false",
        "webdav": "false",
        "master.telemetry": "false",
        # 30 MB volumes in place of 128: a young store then preallocates little.
        "master.volumeSizeLimitMB": 64,
    }
    return [str(BIN / "weed"), "mini", *(f"-{key}={value}" for key, value in flags.items())]


def _write_s3_identity(home: Path) -> None:
    import configparser

    parser = configparser.ConfigParser()
    parser.read(paths.credentials(home))
    section = parser["default"]
    pair = {"accessKey": section["aws_access_key_id"], "secretKey": section["aws_secret_access_key"]}
    identity = {"name": "spotforge", "credentials": [pair], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    path = home / "seaweedfs.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"identities": [identity]}))


def _write_dagster(home: Path, ports: Ports) -> None:
    folder = home / "dagster"
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "nux: {enabled: false}\n"
        "run_coordinator:\n"
        "  module: dagster._core.run_coordinator\n"
        "  class: QueuedRunCoordinator\n"
        # Two cores: a third run would only slow the other two.
        "  config:\n"
        "    max_concurrent_runs: 2\n"
        "    dequeue_interval_seconds: 1\n"
        # Trainings hand their records on under one name each, so one at a time.
        "    tag_concurrency_limits: [{key: spotforge/one-at-a-time, limit: 1}]\n"
        "run_monitoring: {enabled: true, poll_interval_seconds: 10}\n"
    )


def _buckets(outputs: StackOutputs) -> bool:
    """Make the buckets where they are missing; True once all are there. The ledger's bucket is versioned."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from stacks.credentials import read

    key, secret = read(outputs.object_store)
    settings = Config(connect_timeout=1, read_timeout=3, retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    client = boto3.client(
        "s3",
        endpoint_url=outputs.object_store.endpoint,
        region_name=outputs.object_store.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=settings,
    )
    wanted = outputs.object_store.buckets
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in {wanted.artifacts, wanted.data, wanted.ledger, wanted.logs} - there:
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=name == wanted.ledger)
    except (BotoCoreError, ClientError):
        return False
    return True


def _http(url: str) -> bool:
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback addresses
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
    except (OSError, ValueError):
        return False


def _dagster(url: str, query: str, good: Callable[[Any], bool]) -> bool:
    import urllib.request

    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{url}/graphql", data=json.dumps({"query": query}).encode(), headers={"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return good(json.loads(answer.read())["data"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def _fresh(path: Path) -> bool:
    import time

    try:
        return time.time() - path.stat().st_mtime < FRESH_S
    except FileNotFoundError:
        return False
