"""One GPU pool: its specs as data. How they are registered is tested with the whole program."""

from typing import Any

import pytest

from infra import gpu_pools, names
from stacks import schema
from tests.infra import crd

CLUSTER = schema.Cluster.model_validate({"name": "c", "context": "c", "nodeRole": "r"})


def pool(**changes: Any) -> schema.GpuPool:
    base = {"name": "train", "families": ["g6", "g5"], "maxGpus": 8, "ami": "bottlerocket@v1.46.0"}
    # Through JSON, as the stack file's own reader does.
    import json

    return schema.GpuPool.model_validate_json(json.dumps(base | changes))


def requirement(spec: dict[str, Any], key: str) -> list[str] | None:
    found = [item["values"] for item in spec["template"]["spec"]["requirements"] if item["key"] == key]
    return found[0] if found else None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ami": "al2023@v20250904", "scratch": False},
        {"zones": ["eu-west-1a"], "capacity": ["reserved", "spot"], "capacityReservations": ["cr-0a1b"]},
        {
            "labels": {"team": "ml"},
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
                "consolidateAfter": "Never",
                "expireAfter": "Never",
                "budgets": [
                    {"nodes": "0", "reasons": ["Drifted"], "schedule": "0 8 * * 1-5", "duration": "10h"},
                    {"nodes": "10%"},
                ],
            },
        },
    ],
)
def test_every_option_makes_manifests_that_karpenter_takes(changes: dict[str, Any]) -> None:
    configured = pool(**changes)
    assert crd.problems("nodepool", gpu_pools.node_pool_spec(configured, "gpu-train")) == []
    assert crd.problems("ec2nodeclass", gpu_pools.node_class_spec(configured, CLUSTER, {"stack": "dev"})) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec["template"].update(taints=[]), "spec.template.taints is not a field"),
        (lambda spec: spec["template"]["spec"]["taints"][0].update(effect="Never"), "is none of"),
        (lambda spec: spec["disruption"].pop("consolidateAfter"), "consolidateAfter is missing"),
        (lambda spec: spec["disruption"].update(consolidateAfter="5 minutes"), "does not match"),
    ],
)
def test_the_check_against_karpenters_definitions_can_fail(change: Any, said: str) -> None:
    spec = gpu_pools.node_pool_spec(pool(), "gpu-train")
    change(spec)
    assert any(said in problem for problem in crd.problems("nodepool", spec))


def test_no_machine_with_another_number_of_gpus_is_in_the_pool() -> None:
    types = requirement(gpu_pools.node_pool_spec(pool(), "x"), "node.kubernetes.io/instance-type")
    assert types and "g6.xlarge" in types and "g5.xlarge" in types
    assert "g6.12xlarge" not in types, "six one-GPU pods would get one machine of four or eight GPUs"


def test_capacity_types_are_those_configured() -> None:
    spec = gpu_pools.node_pool_spec(pool(capacity=["spot"]), "x")
    assert requirement(spec, "karpenter.sh/capacity-type") == ["spot"], "on-demand is bought only where it is asked for"


def test_zones_are_left_open_unless_named() -> None:
    assert requirement(gpu_pools.node_pool_spec(pool(), "x"), "topology.kubernetes.io/zone") is None
    zoned = gpu_pools.node_pool_spec(pool(zones=["eu-west-1a"]), "x")
    assert requirement(zoned, "topology.kubernetes.io/zone") == ["eu-west-1a"]


def test_the_pool_is_bounded_tainted_and_labelled() -> None:
    spec = gpu_pools.node_pool_spec(pool(labels={"team": "ml"}), "x")
    assert spec["limits"] == {"nvidia.com/gpu": "8"}
    assert [taint["key"] for taint in spec["template"]["spec"]["taints"]] == ["nvidia.com/gpu"]
    assert spec["template"]["metadata"]["labels"] == {"team": "ml", names.pool_label(): "gpu-train"}


def test_a_label_of_the_team_cannot_take_the_pools_own() -> None:
    spec = gpu_pools.node_pool_spec(pool(labels={names.pool_label(): "mine"}), "x")
    assert spec["template"]["metadata"]["labels"][names.pool_label()] == "gpu-train"


def test_every_disk_is_encrypted_and_goes_with_its_node() -> None:
    for ami in ("bottlerocket@v1.46.0", "al2023@v20250904"):
        disks = gpu_pools.node_class_spec(pool(ami=ami), CLUSTER, {})["blockDeviceMappings"]
        assert disks
        assert all(disk["ebs"]["encrypted"] and disk["ebs"]["deleteOnTermination"] for disk in disks)
        assert disks[-1]["ebs"]["volumeSize"] == "100Gi"


def test_containers_cannot_reach_the_nodes_credentials() -> None:
    options = gpu_pools.node_class_spec(pool(), CLUSTER, {})["metadataOptions"]
    assert options == {"httpTokens": "required", "httpPutResponseHopLimit": 1}


def test_instances_carry_the_stacks_tags_as_karpenter_makes_them_not_pulumi() -> None:
    tags = gpu_pools.node_class_spec(pool(), CLUSTER, {"stack": "dev"})["tags"]
    assert tags == {"stack": "dev", names.pool_label(): "gpu-train"}


def test_our_tags_win_over_a_teams() -> None:
    assert names.default_tags("dev", {"stack": "mine", "team": "ml"})["stack"] == "dev"
