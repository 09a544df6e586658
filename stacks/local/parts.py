"""The parts of the local stack: what each one runs, and the probe that says it is ready.

No process is started here; `stacks.local.stack` does that.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stacks.local import paths, probes
from stacks.local.configuration import LOCATION
from stacks.local.ports import HOST, Ports, past_proxies
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
        **past_proxies(os.environ),
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def build(home: Path, ports: Ports, outputs: StackOutputs) -> dict[str, Part]:
    """Every part by name; nothing is written here."""
    dagster, mlflow, admin = outputs.orchestration.url, outputs.tracking.uri, outputs.gateway.admin_url
    bootstrap = str(paths.envoy_bootstrap(home))
    workspace = ["-w", str(paths.workspace(home))]
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
        part("seaweedfs", _seaweed(home, ports), outputs.object_store.endpoint or "", lambda: probes.buckets(outputs)),
        part(
            "mlflow",
            [*python, "mlflow", "server", "--host", HOST, "--port", str(ports.mlflow), "--workers", "1"]
            + ["--backend-store-uri", f"sqlite:///{home / 'mlflow' / 'mlflow.db'}", "--serve-artifacts"]
            + ["--artifacts-destination", f"s3://{outputs.object_store.buckets.artifacts}/mlflow"]
            + ["--allowed-hosts", f"{HOST}:*,localhost:*"],
            mlflow,
            lambda: probes.http(f"{mlflow}/health"),
            {
                **credentials,
                "MLFLOW_S3_ENDPOINT_URL": outputs.object_store.endpoint or "",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
        ),
        part(
            "code-location",
            [*python, "dagster", "api", "grpc", "-m", "pipelines.definitions", "--location-name", LOCATION]
            + ["--host", HOST, "--port", str(ports.code_location)],
            f"{HOST}:{ports.code_location}",
            lambda: probes.location_loaded(dagster),
        ),
        part(
            "dagster-webserver",
            [*python, "pipelines.local_dagster", "webserver", "--host", HOST, "--port", str(ports.dagster), *workspace],
            dagster,
            lambda: probes.http(f"{dagster}/server_info"),
        ),
        part(
            "dagster-daemon",
            [*python, "pipelines.local_dagster", "daemon", "run", *workspace],
            "-",
            lambda: probes.daemons_healthy(dagster),
        ),
        part(
            "envoy",
            [str(BIN / "envoy"), "-c", bootstrap, "--concurrency", "1", "--disable-hot-restart", "-l", "warn"],
            outputs.gateway.url,
            lambda: probes.http(f"{admin}/ready"),
        ),
        part(
            "release-controller",
            [*python, "pipelines.release.controller", "--outputs", str(paths.outputs(home))],
            "-",
            lambda: probes.fresh(home / "controller.json"),
        ),
    ]
    return {item.program.name: item for item in found}


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
        "s3.config": paths.s3_identity(home),
        "s3.autoCreateBucket": "false",
        "admin.port": ports.weed_admin,
        "admin.port.grpc": ports.weed_admin_grpc,
        "admin.ui": "false",
        "webdav": "false",
        "master.telemetry": "false",
        # 64 MB volumes in place of 128: a young store then preallocates little.
        "master.volumeSizeLimitMB": 64,
    }
    return [str(BIN / "weed"), "mini", *(f"-{key}={value}" for key, value in flags.items())]
