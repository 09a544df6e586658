"""A namespace as every one is made: a pod security level, and no traffic but what is said.

What a workload may reach beyond that stands beside the workload, as `allow_from` and `allow_to`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
import pulumi_kubernetes as k8s

from infra.component import Component

Level = Literal["restricted", "baseline", "privileged"]
METADATA = "169.254.169.254/32"
POD_IDENTITY = "169.254.170.23/32"
"""Where the pod identity agent answers on every node: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html."""


@dataclass(frozen=True, kw_only=True)
class NamespaceArgs:
    name: str
    level: Level = "restricted"
    why: str = ""
    """Why it is not restricted: required for any other level, and written on the namespace."""
    labels: dict[str, str] | None = None


class Namespace(Component):
    """`namespace` is its name, known once the namespace and its denial of all traffic are there."""

    namespace: pulumi.Output[str]

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        if args.level != "restricted" and not args.why:
            raise ValueError(f"namespace {args.name}: a level below restricted needs its reason")
        made = k8s.core.v1.Namespace(
            name,
            metadata={
                "name": args.name,
                "labels": {**(args.labels or {}), **pod_security(args.level)},
                "annotations": {"spotforge.dev/pod-security": args.why} if args.why else {},
            },
            opts=self.child,
        )
        denied = policy(
            f"{name}-deny", args.name, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, self.child_after(made)
        )
        dns = policy(f"{name}-dns", args.name, allow_dns(), self.child_after(made))
        self.namespace = pulumi.Output.all(denied.urn, dns.urn).apply(lambda _: args.name)
        self.done()


def pod_security(level: Level) -> dict[str, str]:
    """Labels by which the API server enforces the level: https://kubernetes.io/docs/concepts/security/pod-security-admission/."""
    return {
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": "latest",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
    }


def policy(name: str, namespace: pulumi.Input[str], spec: Any, opts: pulumi.ResourceOptions) -> k8s.networking.v1.NetworkPolicy:
    """A network policy whose name is the logical name."""
    # Plain dicts; the SDK types them as its own TypedDicts.
    metadata: Any = {"name": name, "namespace": namespace}
    return k8s.networking.v1.NetworkPolicy(name, metadata=metadata, spec=spec, opts=opts)


def allow_dns() -> dict[str, Any]:
    """Every pod may ask the cluster's DNS, and the pod identity agent of its node for its own credentials."""
    return {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [
            {
                "to": [_peer("kube-system", {"k8s-app": "kube-dns"})],
                "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
            },
            {"to": [{"ipBlock": {"cidr": POD_IDENTITY}}], "ports": [{"protocol": "TCP", "port": 80}]},
        ],
    }


def allow_from(
    pods: dict[str, str], ports: Sequence[int], *sources: tuple[str, dict[str, str]], blocks: Sequence[str] = ()
) -> dict[str, Any]:
    """Ingress to the pods with these labels on these TCP ports from `(namespace, labels)` pairs (no labels: all its pods)."""
    peers = [_peer(*source) for source in sources] + [{"ipBlock": {"cidr": block}} for block in blocks]
    return {
        "podSelector": {"matchLabels": pods} if pods else {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": _ports(ports)}],
    }


def allow_to(
    pods: dict[str, str], ports: Sequence[int], *targets: tuple[str, dict[str, str]], blocks: Sequence[str] = ()
) -> dict[str, Any]:
    """Egress of the pods with these labels on these TCP ports to `(namespace, labels)` pairs and address blocks."""
    peers = [_peer(*target) for target in targets] + [_block(block) for block in blocks]
    return {
        "podSelector": {"matchLabels": pods} if pods else {},
        "policyTypes": ["Egress"],
        "egress": [{"to": peers, "ports": _ports(ports)}],
    }


def _peer(namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    peer: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    if labels:
        peer["podSelector"] = {"matchLabels": labels}
    return peer


def _block(cidr: str) -> dict[str, Any]:
    # The world never includes the node's metadata service.
    return {"ipBlock": {"cidr": cidr, "except": [METADATA]}} if cidr == "0.0.0.0/0" else {"ipBlock": {"cidr": cidr}}


def _ports(ports: Sequence[int]) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]
