"""What a program would make: it runs against a recording engine, with neither an account nor the real engine.

It runs to its end first, because that something is absent can only be said once every registration has landed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import mocks, rpc, settings, stack, sync_await

from stacks import schema


@dataclass(frozen=True)
class Resource:
    """One registration, with its inputs as the engine would see them."""

    type: str
    name: str
    inputs: dict[str, Any]
    provider: str
    urn: str
    parent: str
    protect: bool
    depends_on: tuple[str, ...]


@dataclass(frozen=True)
class Recording:
    """What a program did."""

    resources: tuple[Resource, ...]
    outputs: dict[str, dict[str, Any]]
    """Registered outputs by URN; the stack's exports under `exports`."""

    @property
    def exports(self) -> dict[str, Any]:
        return next(values for urn, values in self.outputs.items() if urn.split("::")[2] == "pulumi:pulumi:Stack")

    def of(self, kind: str) -> dict[str, Resource]:
        """Resources of a type (`aws:s3/bucket:Bucket`) by logical name."""
        return {item.name: item for item in self.resources if item.type == kind}


@dataclass
class _Monitor(mocks.MockMonitor):
    """MockMonitor forgets what components register as outputs, and who protects what; this one writes it all down."""

    mocks: mocks.Mocks
    found: list[Resource] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.mocks)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the engine's own name
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]  # the SDK types neither
        if request.type != "pulumi:pulumi:Stack":
            inputs = rpc.deserialize_properties(request.object)
            self.found.append(
                Resource(
                    request.type,
                    request.name,
                    inputs,
                    request.provider,
                    answer.urn,
                    request.parent,
                    request.protect,
                    tuple(request.dependencies),
                )
            )
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the engine's own name
        self.outputs[request.urn] = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]  # the SDK types neither


# What AWS gives to a resource, where another one builds on it. Values of the right shape, recognisably nobody's.
_GIVEN: dict[str, dict[str, Any]] = {
    "aws:eks/cluster:Cluster": {
        "endpoint": "https://cluster.invalid",
        "certificateAuthority": {"data": "Q0E="},
        "vpcConfig": {"clusterSecurityGroupId": "sg-cluster"},
        "identities": [{"oidcs": [{"issuer": "https://oidc.invalid/id"}]}],
    },
    "aws:rds/instance:Instance": {
        "address": "database.invalid",
        "endpoint": "database.invalid:5432",
        "masterUserSecrets": [{"secretArn": "arn:aws:secretsmanager:::secret:master"}],
    },
    "aws:sqs/queue:Queue": {"url": "https://sqs.invalid/queue"},
    "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1, "defaultVersion": 1},
    "aws:ecr/repository:Repository": {"repositoryUrl": "registry.invalid/repository"},
    "aws:ec2/vpc:Vpc": {"mainRouteTableId": "rtb-main"},
}


class Echo(mocks.Mocks):
    """Every resource comes into being with the inputs it was given, an ARN, and what AWS adds to its kind."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        state = {**_GIVEN.get(args.typ, {}), **args.inputs}
        if args.typ.startswith("aws:"):
            service, _, kind = args.typ.removeprefix("aws:").partition("/")
            name = state.get("name", args.name)
            state.setdefault("name", name)
            state["arn"] = (
                f"arn:aws:s3:::{state['bucket']}"
                if args.typ == "aws:s3/bucket:Bucket"
                else f"arn:aws:{service}:region:account:{kind.split(':')[0]}/{name}"
            )
        return f"{args.name}-id", state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"the program asked the cloud for {args.token}: plans must not depend on it")


def record(program: Callable[[], object], *, stack_name: str = "dev", config: dict[str, Any] | None = None) -> Recording:
    """Run `program` as Pulumi would, with `config` (`namespace:key` to value) set; raises what the program raises."""
    monitor = _Monitor(Echo())
    settings.configure(
        mocks.MockSettings(  # type: ignore[no-untyped-call]  # the SDK types none of these
            monitor=monitor,
            monitor_features=set(monitor.GetDeploymentInfo(None).supportedFeatures),  # type: ignore[no-untyped-call]
            engine=mocks.MockEngine(None),
            project="spotforge",
            stack=stack_name,
            dry_run=False,
            organization=None,
            callbacks=None,
        )
    )
    _forget_root()
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (config or {}).items()}
    pulumi.runtime.set_all_config(texts)

    def run() -> None:
        program()

    try:
        sync_await._sync_await(stack.run_in_stack(run))
    finally:
        _forget_root()
        pulumi.runtime.set_all_config({})
    return Recording(tuple(monitor.found), monitor.outputs)


def plan(stack_name: str, folder: Path = schema.FOLDER) -> Recording:
    """What `pulumi up --stack STACK` would make. Raises UserError when the stack's file is missing or not whole."""
    schema.read(stack_name, folder)
    config = yaml.safe_load((folder / f"Pulumi.{stack_name}.yaml").read_text())["config"]
    from infra.__main__ import main

    return record(main, stack_name=stack_name, config=config)


def _forget_root() -> None:
    # The SDK allows one root stack a process; each recording is a process of its own as far as it can tell.
    settings.set_root_resource(None)  # type: ignore[arg-type]  # typed as if a root could not go
