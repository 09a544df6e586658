"""One pool of GPU nodes as Karpenter sees it: a NodePool and its EC2NodeClass.

Karpenter itself, and the drivers on the nodes, are other modules. What the pools are is the stack's configuration.
"""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from infra import names
from infra.component import Component
from stacks import schema

# Bottlerocket keeps the OS on the first disk (its default size is enough) and images and pods on the second.
# https://karpenter.sh/docs/concepts/nodeclasses/#bottlerocket-2
DISKS = {"bottlerocket": ("/dev/xvdb", (("/dev/xvda", 4),)), "al2023": ("/dev/xvda", ())}
GPU = "nvidia.com/gpu"


@dataclass(frozen=True, kw_only=True)
class GpuPoolArgs:
    pool: schema.GpuPool
    cluster: schema.Cluster
    tags: dict[str, str]
    """Karpenter makes the instances, not Pulumi: the provider's default tags do not reach them."""


class GpuPool(Component):
    """`node_pool` is the name that workloads select by the label `names.pool_label()`."""

    node_pool: pulumi.Output[str]

    def __init__(self, name: str, args: GpuPoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        title = names.gpu_pool(args.pool.name)
        node_class = k8s.apiextensions.CustomResource(
            f"{name}-class",
            api_version="karpenter.k8s.aws/v1",
            kind="EC2NodeClass",
            metadata={"name": title},
            spec=node_class_spec(args.pool, args.cluster, args.tags),
            opts=self.child,
        )
        node_pool = k8s.apiextensions.CustomResource(
            name,
            api_version="karpenter.sh/v1",
            kind="NodePool",
            metadata={"name": title},
            # The name by way of an Output, so that the pool is made after its class and deleted before it.
            spec=node_pool_spec(args.pool, node_class.urn.apply(lambda _: title)),
            opts=self.child,
        )
        self.node_pool = node_pool.urn.apply(lambda _: title)
        self.done()


def node_pool_spec(pool: schema.GpuPool, node_class: pulumi.Input[str]) -> dict[str, Any]:
    """The NodePool's spec. Karpenter tries reserved, then spot, then on-demand among the capacity types named."""
    requirements = [
        _one_of("karpenter.sh/capacity-type", pool.capacity),
        # A list of types in place of Karpenter's AWS labels: it means the same to every provider, the simulated one too.
        _one_of("node.kubernetes.io/instance-type", pool.instance_types),
        _one_of("kubernetes.io/arch", ("amd64",)),
        _one_of("kubernetes.io/os", ("linux",)),
    ]
    if pool.zones:
        requirements.append(_one_of("topology.kubernetes.io/zone", pool.zones))
    disruption = pool.disruption
    return {
        "template": {
            "metadata": {"labels": {**pool.labels, names.pool_label(): names.gpu_pool(pool.name)}},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": node_class},
                "requirements": requirements,
                # Only what asks for a GPU lands here: a stray pod would keep the dearest node of the cluster alive.
                "taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}],
                "expireAfter": disruption.expire_after,
            },
        },
        "limits": {GPU: str(pool.max_gpus)},
        "disruption": {
            "consolidationPolicy": disruption.consolidation_policy,
            "consolidateAfter": disruption.consolidate_after,
            "budgets": [_budget(budget) for budget in disruption.budgets],
        },
    }


def node_class_spec(pool: schema.GpuPool, cluster: schema.Cluster, tags: dict[str, str]) -> dict[str, Any]:
    """The EC2NodeClass's spec: image, disks, network and metadata service of the pool's machines."""
    discovery = [{"tags": {"karpenter.sh/discovery": cluster.name}}]
    data_disk, others = DISKS[pool.ami.partition("@")[0]]
    spec: dict[str, Any] = {
        "amiSelectorTerms": [{"alias": pool.ami}],
        "role": cluster.node_role,
        "subnetSelectorTerms": discovery,
        "securityGroupSelectorTerms": discovery,
        "blockDeviceMappings": [
            *(_disk(device, size) for device, size in others),
            _disk(data_disk, pool.root_volume_gib),
        ],
        # IMDSv2 only, and one hop: a container cannot reach the node's credentials.
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "tags": {**tags, names.pool_label(): names.gpu_pool(pool.name)},
    }
    if pool.scratch:
        spec["instanceStorePolicy"] = "RAID0"
    if pool.capacity_reservations:
        spec["capacityReservationSelectorTerms"] = [{"id": reservation} for reservation in pool.capacity_reservations]
    return spec


def _one_of(key: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def _disk(device: str, gib: int) -> dict[str, Any]:
    return {
        "deviceName": device,
        "ebs": {"volumeSize": f"{gib}Gi", "volumeType": "gp3", "encrypted": True, "deleteOnTermination": True},
    }


def _budget(budget: schema.Budget) -> dict[str, Any]:
    filled = {
        "nodes": budget.nodes,
        "reasons": list(budget.reasons),
        "schedule": budget.schedule,
        "duration": budget.duration,
    }
    return {key: value for key, value in filled.items() if value}
