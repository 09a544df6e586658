"""Which ports a local stack uses, and who holds one that is taken. All on loopback."""

import errno
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from stacks.errors import UserError

HOST = "127.0.0.1"
DEFAULT_BASE = 21300
"""Above the registered services and below Linux's ephemeral range (32768), so that nothing takes one by chance."""
SERVERS = range(40, 80)
"""Offsets from the base that model servers may take."""


@dataclass(frozen=True)
class Ports:
    """One port for each listener of the stack. The field order is the offset from the base."""

    dagster: int
    mlflow: int
    gateway: int
    gateway_admin: int
    s3: int
    code_location: int
    weed_s3_grpc: int
    weed_master: int
    weed_master_grpc: int
    weed_volume: int
    weed_volume_grpc: int
    weed_filer: int
    weed_filer_grpc: int
    weed_admin: int
    weed_admin_grpc: int

    @classmethod
    def at(cls, base: int) -> "Ports":
        return cls(*(base + offset for offset, _ in enumerate(fields(cls))))

    @property
    def base(self) -> int:
        return self.dagster

    def all(self) -> dict[str, int]:
        return asdict(self)


def load(path: Path) -> Ports | None:
    """The ports a stack chose before, or None. Raises UserError when the file is damaged."""
    try:
        return Ports(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{path} is damaged", "Run `spotforge down --purge` and start again.") from error


def save(path: Path, ports: Ports) -> None:
    path.write_text(json.dumps(asdict(ports)))


def check_free(ports: Ports) -> None:
    """Raises UserError naming the first port that something else listens on."""
    for name, port in ports.all().items():
        if not is_free(port):
            raise UserError(
                f"port {port} ({name}) is taken{_holder(port)}", "Stop that, or choose others with `--port-base`, e.g. 22300."
            )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def free_base() -> int:
    """A base of which every port is free at the moment: for tests, several stacks side by side."""
    import random

    # In any order: two test runs that start together would else take the same one.
    for base in random.sample(range(23000, 32000, 100), 90):
        if all(is_free(port) for port in Ports.at(base).all().values()):
            return base
    raise UserError("no hundred free ports below 32000", "End some servers first.")


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The no-proxy variables as they are, with loopback added: the stack's own servers are never behind a proxy."""
    known = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = ",".join([*(host for host in known.split(",") if host), HOST, "localhost"])
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _holder(port: int) -> str:
    import psutil

    for process in psutil.process_iter(["pid", "name"]):
        try:
            listening = process.net_connections(kind="tcp")
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in listening):
            return f" by {process.info['name']} (pid {process.info['pid']})"
    return ""
