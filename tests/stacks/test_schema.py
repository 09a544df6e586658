"""What people write of an environment: every stack file is whole, and what is wrong is refused in one line."""

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore
import pytest
import yaml

from stacks import gpu_types, schema
from stacks.errors import UserError

STACKS = tuple(sorted(path.name.split(".")[1] for path in schema.FOLDER.glob("Pulumi.*.yaml")))
Config = dict[str, Any]


def base() -> Config:
    found: Config = copy.deepcopy(yaml.safe_load((schema.FOLDER / "Pulumi.prod.yaml").read_text())["config"][schema.KEY])
    return found


def test_there_are_the_three_environments() -> None:
    assert STACKS == ("dev", "prod", "staging")


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_file_is_whole_as_a_file_too(stack: str) -> None:
    content = yaml.safe_load((schema.FOLDER / f"Pulumi.{stack}.yaml").read_text())
    schema.StackFile.model_validate_json(json.dumps(content))
    assert schema.read(stack) == schema.StackConfig.parse(content["config"][schema.KEY], stack)


def test_prod_is_the_strict_one() -> None:
    prod, dev = schema.read("prod"), schema.read("dev")
    assert prod.protect
    assert prod.ledger.mode == "compliance"
    assert not prod.buckets.force_destroy
    assert dev.ledger.mode == "governance", "a dev stack can be taken down whole"
    assert len({schema.read(stack).account for stack in STACKS}) == len(STACKS)


def pool(value: Config, **changes: Any) -> None:
    value["gpuPools"][0].update(changes)


@pytest.mark.parametrize(
    ("breaking", "key", "move"),
    [
        (lambda v: v.update(gpuPool=[]), "gpuPool:", "Did you mean 'gpuPools'?"),
        (lambda v: v["buckets"].update(logDay=3), "buckets.logDay:", "Did you mean 'logDays'?"),
        (lambda v: pool(v, maxGpu=1), "gpuPools[0].maxGpu:", "Did you mean 'maxGpus'?"),
        (lambda v: pool(v, spotPrice="1"), "gpuPools[0].spotPrice:", "Choose from name, families"),
        (lambda v: v["gpuPools"].append(v["gpuPools"][0]), "gpuPools: two pools are named 'train'", "Rename one."),
        (lambda v: v.pop("ledger"), "ledger: is missing", "schema.json"),
        (lambda v: v["gpuPools"][0].pop("maxGpus"), "gpuPools[0].maxGpus: is missing", "Add it"),
        (lambda v: pool(v, maxGpus="4"), "gpuPools[0].maxGpus:", "Correct the value."),
        (lambda v: pool(v, maxGpus=True), "gpuPools[0].maxGpus:", "Correct the value."),
        (lambda v: pool(v, maxGpus=0), "gpuPools[0].maxGpus:", "Correct the value."),
        (lambda v: v.update(account=333333333333), "account: 333333333333 is read as a number", "Put it in quotes."),
        (lambda v: v.update(account="3333"), "account:", "Correct the value."),
        (lambda v: v.update(region="Ireland"), "region:", "Correct the value."),
        (lambda v: v["ledger"].update(mode="complience"), "ledger.mode:", "Correct the value."),
        (lambda v: v["existing"].update(trackingUri="mlflow:5000"), "existing.trackingUri:", "Correct the value."),
        (lambda v: v["existing"].pop("cluster"), "existing.cluster: is missing", "Add it"),
        (lambda v: pool(v, name="Train_1"), "gpuPools[0].name:", "Correct the value."),
        (lambda v: pool(v, families=[]), "gpuPools[0].families:", "Correct the value."),
        (lambda v: pool(v, families=["g66"]), "no GPU family 'g66'", "Did you mean 'g6'?"),
        (lambda v: pool(v, families=["m7i"]), "no GPU family 'm7i'", "hoose from"),
        (lambda v: pool(v, gpusPerNode=3), "g6 has no type with 3 GPUs", "it has 1, 4, 8"),
        (lambda v: pool(v, families=["g6", "p5e"]), "p5e has no type with 1 GPUs", "it has 8"),
        (lambda v: pool(v, sizes=["3xlarge"]), "g6 has no type", "Drop it or change gpusPerNode or sizes."),
        (lambda v: pool(v, gpusPerNode=8, families=["p5"], maxGpus=4), "maxGpus: 4 is less than one node", "Give 8 or more."),
        (lambda v: pool(v, capacity=["on-demand", "spot"]), "Karpenter's order is fixed", "Write [spot, on-demand]."),
        (lambda v: pool(v, capacity=["spot", "spot"]), "capacity", "Write [spot]."),
        (lambda v: pool(v, capacity=[]), "capacity: nothing may be bought", "Name spot"),
        (lambda v: pool(v, capacity=["cheap"]), "gpuPools[0].capacity[0]:", "Correct the value."),
        (lambda v: pool(v, capacity=["reserved"]), "capacityReservations and capacity disagree", "List their ids."),
        (lambda v: pool(v, capacityReservations=["cr-1"]), "disagree", "Add reserved to capacity."),
        (lambda v: pool(v, capacity=["reserved"], capacityReservations=["r-1"]), "capacityReservations[0]:", "Correct"),
        (lambda v: pool(v, ami="al2023@latest"), "ami: 'al2023@latest' is no pinned image", "Write bottlerocket@vX.Y.Z"),
        (lambda v: pool(v, ami="ubuntu@v1"), "ami: 'ubuntu@v1' is no pinned image", "Write bottlerocket"),
        (lambda v: pool(v, zones=["us-east-1a"]), "'us-east-1a' is not in eu-north-1", "Correct one of them."),
        (
            lambda v: v.update(region="eu-west-1"),
            "eu-west-1 does not offer g6, g6e",
            "Drop them, or take",
        ),
        (
            lambda v: v.update(region="ca-west-1"),
            "families: ca-west-1 offers none of",
            "Take a region that has them",
        ),
        (lambda v: pool(v, rootVolumeGib=1), "gpuPools[0].rootVolumeGib:", "Correct the value."),
        (lambda v: pool(v, disruption={"expireAfter": "two weeks"}), "disruption.expireAfter:", "Correct the value."),
        (
            lambda v: pool(v, disruption={"budgets": [{"nodes": "1", "schedule": "0 9 * * *"}]}),
            "a budget has schedule and duration together",
            "Add the missing one.",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_key_and_the_next_move(breaking: Callable[[Config], object], key: str, move: str) -> None:
    value = base()
    breaking(value)
    with pytest.raises(UserError) as refusal:
        schema.StackConfig.parse(value, "Pulumi.prod.yaml")
    said = str(refusal.value)
    assert said.startswith("Pulumi.prod.yaml: ")
    assert key in said
    assert move in said
    assert "\n" not in said


@pytest.mark.parametrize("value", [None, 3, "text", [], True])
def test_what_is_no_mapping_at_all_is_refused_too(value: Any) -> None:
    with pytest.raises(UserError, match="Pulumi.dev.yaml"):
        schema.StackConfig.parse(value, "Pulumi.dev.yaml")


def test_all_problems_are_counted() -> None:
    with pytest.raises(UserError, match=r"\(3 more after this one\.\)"):
        schema.StackConfig.parse({}, "Pulumi.dev.yaml")


def test_a_stack_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"there is no stack 'prd'\. Did you mean 'prod'\?"):
        schema.read("prd")


@pytest.mark.parametrize(
    ("content", "said"), [("config: [", "is no YAML"), ("config: {}", "no key"), ("- 1", "no key"), ("", "no key")]
)
def test_a_damaged_stack_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "Pulumi.x.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        schema.read("x", tmp_path)


def test_a_configuration_cannot_be_changed_after_it_was_read() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="frozen"):
        schema.read("dev").region = "us-east-1"  # type: ignore[misc]


def test_the_editors_schema_forbids_unknown_keys_everywhere() -> None:
    definitions = json.loads(schema.json_schema())["$defs"]
    loose = [
        name for name, node in definitions.items() if node["type"] == "object" and node.get("additionalProperties") is not False
    ]
    assert not loose


def test_every_instance_type_of_the_table_exists() -> None:
    model = max((Path(botocore.__file__).parent / "data" / "ec2").glob("*/service-2.json.gz"))  # folders are API dates
    known = set(json.loads(gzip.decompress(model.read_bytes()))["shapes"]["InstanceType"]["enum"])
    ours = {f"{family}.{size}" for family, sizes in gpu_types.GPUS.items() for size in sizes}
    assert ours <= known, f"EC2 does not know {sorted(ours - known)}"


def test_expanding_keeps_the_order_of_families_and_only_the_sizes_asked_for() -> None:
    assert gpu_types.expand(("p5", "g5"), gpus=1, sizes=("4xlarge",)) == ("p5.4xlarge", "g5.4xlarge")
    assert gpu_types.expand(("g5",), gpus=8) == ("g5.48xlarge",)
    assert gpu_types.expand(("none",), gpus=1) == ()
