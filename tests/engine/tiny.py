"""A project of four resources in a chain, for the proof of the harness itself, and a policy pack of one rule.

It is written to a folder and run from there, as a person's project would be.
"""

from pathlib import Path

FILES = {
    "Pulumi.yaml": """
name: tiny
main: program.py
stackConfigDir: stacks
runtime:
  name: python
  options: {toolchain: uv}
""",
    "stacks/Pulumi.dev.yaml": """
config:
  pulumi:disable-default-providers: ["*"]
  tiny:label: first
  tiny:place: here
  tiny:size: 1
""",
    "program.py": '''
"""Two things and two objects, each of which needs the one before."""

import pulumi
import pulumi_kubernetes as k8s


class Memory(pulumi.ProviderResource):
    def __init__(self, name):
        super().__init__("memory", name, {"region": "nowhere", "tags": pulumi.Output.json_dumps({"a": "b"})})


class Thing(pulumi.CustomResource):
    address: pulumi.Output[str]

    def __init__(self, name, opts, **inputs):
        super().__init__("memory:index:Thing", name, {**inputs, "address": None}, opts)


config = pulumi.Config()
memory = pulumi.ResourceOptions(provider=Memory("memory"))
cluster = pulumi.ResourceOptions(provider=k8s.Provider("kubernetes", enable_server_side_apply=True))
first = Thing("first", memory, size=config.require_int("size"), place=config.require("place"))
second = Thing("second", memory, size=1, after=first.address)
namespace = k8s.core.v1.Namespace(
    "room", metadata={"name": "room", "labels": {"label": config.require("label")}, "annotations": {"of": second.address}},
    opts=cluster,
)
k8s.core.v1.ServiceAccount("user", metadata={"namespace": namespace.metadata.name}, opts=cluster)
pulumi.export("address", second.address)
''',
    "infra/policy/PulumiPolicy.yaml": "runtime: python\n",
    "infra/policy/__main__.py": """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy


def small(args, report):
    if args.resource_type == "memory:index:Thing" and args.props["size"] > 5:
        report(f"a thing of size {args.props['size']:.0f} is too large: make it 5 at most")


PolicyPack(
    name="tiny",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[ResourceValidationPolicy(name="small", description="Things are small.", validate=small)],
)
""",
}


def write(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    return folder
