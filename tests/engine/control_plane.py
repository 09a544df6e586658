"""A real Kubernetes API server on this machine: etcd and kube-apiserver on 127.0.0.1, data in a folder, stopped at the end.

No controllers, no scheduler, no nodes: objects are stored and validated, nothing acts on them.
"""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import urllib3

from tests.engine.api import Api
from tests.engine.certificates import Authority
from tests.tools import build

# Measured: ready in 5 to 6 s; a machine whose cores are all busy takes several times that.
READY_SECONDS = 90
# An API server lets its requests end first; etcd stops within a second.
STOP_SECONDS = 20
LOG_LINES = 12
OK = 200


@dataclass(frozen=True)
class ControlPlane:
    api: Api
    """A client with every right."""
    kubeconfig: Path


@contextlib.contextmanager
def start(folder: Path) -> Iterator[ControlPlane]:
    """A control plane that is ready, with what it writes under `folder`. Raises build.Missing where a tool is not to be had."""
    tools = {name: build.path(name) for name in ("etcd", "kube-apiserver")}
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        client, peer, secure = _free_ports(3)
        etcd = _start(stack, folder, [str(tools["etcd"]), *_etcd_flags(folder, client, peer)])
        _wait(etcd, folder / "etcd.log", lambda: _answers(f"http://127.0.0.1:{client}/health"))
        authority = Authority(folder)
        admin = authority.sign("admin", common_name="spotforge-test-admin", organisation="system:masters")
        flags = _apiserver_flags(folder, authority, client, secure)
        server = _start(stack, folder, [str(tools["kube-apiserver"]), *flags])
        address = f"https://127.0.0.1:{secure}"
        api = Api(address, ca=authority.files.certificate, certificate=admin.certificate, key=admin.key)
        _wait(server, folder / "kube-apiserver.log", lambda: _ready(api))
        kubeconfig = folder / "kubeconfig.yaml"
        kubeconfig.write_text(_kubeconfig(address, authority.files.certificate, admin.certificate, admin.key))
        yield ControlPlane(api, kubeconfig)


def _etcd_flags(folder: Path, client: int, peer: int) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        # The data is thrown away at the end.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver_flags(folder: Path, authority: Authority, etcd: int, port: int) -> list[str]:
    serving = authority.sign("apiserver", common_name="kube-apiserver", server=True)
    kubelet = authority.sign("kubelet-client", common_name="kube-apiserver-kubelet-client", organisation="system:masters")
    accounts = authority.sign("service-accounts", common_name="service-accounts")
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--advertise-address=127.0.0.1",
        # A loopback address is refused as an endpoint.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={authority.files.certificate}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--cert-dir={folder}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts.key}",
        f"--service-account-signing-key-file={accounts.key}",
        f"--kubelet-client-certificate={kubelet.certificate}",
        f"--kubelet-client-key={kubelet.key}",
        f"--kubelet-certificate-authority={authority.files.certificate}",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        "--allow-privileged=true",
        # Pods are stored, not run: nobody makes the default service account that this plugin would wait for.
        "--disable-admission-plugins=ServiceAccount",
    ]


def _start(stack: contextlib.ExitStack, folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    name = Path(command[0]).name.rsplit("-", 1)[0] if "-" in Path(command[0]).name else Path(command[0]).name
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    # A session of its own: Ctrl-C in the terminal must not take the store away before the tests have ended.
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True)
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    """Until it is ready. Raises RuntimeError with the end of its log when it dies or takes too long."""
    end = time.monotonic() + READY_SECONDS
    while not ready():
        code = process.poll()
        if code is not None or time.monotonic() > end:
            what = f"ended with {code}" if code is not None else f"is not ready after {READY_SECONDS} s"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise RuntimeError(f"{log.stem} {what}; the end of {log}:\n{tail}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False, timeout=1).status == OK
    except urllib3.exceptions.HTTPError:
        return False


def _ready(api: Api) -> bool:
    try:
        return api.text("/readyz") == "ok" and api.get("/api/v1/namespaces/default") is not None
    except urllib3.exceptions.HTTPError:
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _kubeconfig(address: str, ca: Path, certificate: Path, key: Path) -> str:
    return f"""apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{address}", certificate-authority: "{ca}"}}}}]
users: [{{name: admin, user: {{client-certificate: "{certificate}", client-key: "{key}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
"""
