"""The whole program on the recording engine, for every environment."""

import json
import runpy
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime.mocks import MockResourceArgs

from infra import names
from infra import plan as recorder
from infra.plan import Recording, record
from stacks import schema
from stacks.outputs import StackOutputs
from tests.infra import crd

ROOT = Path(__file__).resolve().parents[2]
STACKS = tuple(sorted(path.name.split(".")[1] for path in schema.FOLDER.glob("Pulumi.*.yaml")))
BUCKET = "aws:s3/bucket:Bucket"


def config_of(stack: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((schema.FOLDER / f"Pulumi.{stack}.yaml").read_text())["config"]
    return found


def run(stack: str, config: dict[str, Any] | None = None) -> Recording:
    """As Pulumi starts it: the file that Pulumi.yaml names, run as a script."""
    main = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["main"]
    return record(
        lambda: runpy.run_path(str(ROOT / main), run_name="__main__"),
        stack_name=stack,
        config=config_of(stack) if config is None else config,
    )


@pytest.fixture(scope="module", params=STACKS)
def environment(request: pytest.FixtureRequest) -> tuple[str, Recording]:
    return request.param, run(request.param)


def test_the_project_names_a_file_and_the_stacks_folder_and_uv() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert (ROOT / project["main"]).is_file(), "a folder would put infra/ first on Python's path"
    assert (ROOT / project["stackConfigDir"] / "Pulumi.dev.yaml").is_file()
    assert project["runtime"] == {"name": "python", "options": {"toolchain": "uv"}}


def test_what_it_exports_is_a_whole_outputs_file(environment: tuple[str, Recording], tmp_path: Path) -> None:
    stack, recording = environment
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(recording.exports["outputs"]))
    outputs = StackOutputs.load(path)
    assert outputs.stack == stack
    assert outputs.platform == "kubernetes"
    made = {resource.inputs["bucket"] for resource in recording.of(BUCKET).values()}
    assert set(outputs.object_store.buckets.model_dump().values()) == made, "outputs name the buckets that were made, and all"


def test_every_resource_has_a_provider_of_its_own_kind(environment: tuple[str, Recording]) -> None:
    _, recording = environment
    for resource in recording.resources:
        kind = resource.type.split(":")[0]
        if kind in {"aws", "kubernetes"}:
            assert f"pulumi:providers:{kind}::{kind}" in resource.provider, (
                f"{resource.urn} would land wherever the shell points"
            )


def test_every_component_registers_outputs_and_hangs_under_the_stack(environment: tuple[str, Recording]) -> None:
    _, recording = environment
    components = [resource for resource in recording.resources if resource.type.startswith("spotforge:infra:")]
    assert components
    for component in components:
        assert recording.outputs[component.urn], f"{component.urn} registered nothing"
    for resource in recording.resources:
        if resource.type.split(":")[0] in {"aws", "kubernetes"}:
            assert "spotforge:infra:" in resource.parent, f"{resource.urn} belongs to no component"


def test_the_aws_provider_refuses_another_account_and_tags_everything(environment: tuple[str, Recording]) -> None:
    stack, recording = environment
    provider = recording.of("pulumi:providers:aws")["aws"].inputs
    assert json.loads(provider["allowedAccountIds"]) == [schema.read(stack).account]
    assert json.loads(provider["defaultTags"])["tags"] == names.default_tags(stack, schema.read(stack).tags)


def test_pool_manifests_are_what_karpenters_own_definitions_allow(environment: tuple[str, Recording]) -> None:
    stack, recording = environment
    pools = recording.of("kubernetes:karpenter.sh/v1:NodePool")
    classes = recording.of("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass")
    assert len(pools) == len(classes) == len(schema.read(stack).gpu_pools)
    for pool in pools.values():
        assert crd.problems("nodepool", pool.inputs["spec"]) == []
    for node_class in classes.values():
        assert crd.problems("ec2nodeclass", node_class.inputs["spec"]) == []


def test_a_pool_waits_for_its_class(environment: tuple[str, Recording]) -> None:
    _, recording = environment
    classes = recording.of("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass")
    for name, pool in recording.of("kubernetes:karpenter.sh/v1:NodePool").items():
        assert classes[f"{name}-class"].urn in pool.depends_on


def test_buckets_are_protected_wherever_the_stack_says_so(environment: tuple[str, Recording]) -> None:
    stack, recording = environment
    for bucket in recording.of(BUCKET).values():
        assert bucket.protect == schema.read(stack).protect


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            {schema.KEY: config_of("dev")[schema.KEY] | {"gpuPool": []}},
            "gpuPool: there is no such key. Did you mean 'gpuPools'?",
        ),
        ({schema.KEY: config_of("dev")[schema.KEY] | {"region": "eu"}}, "region: String should match"),
        ({}, "config has no key spotforge:environment"),
    ],
)
def test_a_broken_configuration_is_refused_before_the_first_resource(
    broken: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[str] = []

    def note(_: recorder.Echo, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        registered.append(args.typ)
        return "id", dict(args.inputs)

    monkeypatch.setattr(recorder.Echo, "new_resource", note)
    with pytest.raises(pulumi.RunError) as refusal:
        run("dev", broken)
    assert "Pulumi.dev.yaml: " in str(refusal.value)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value), "one line"
    assert registered == []
