"""A recording engine: runs a Pulumi program against mocks and hands back everything it registered.

It runs the program to its end first, because that something is absent can only be said once every registration has landed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc, settings, stack, sync_await


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


class Echo(mocks.Mocks):
    """Every resource comes into being with the outputs it was given; a bucket also with its ARN."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ == "aws:s3/bucket:Bucket":
            state["arn"] = f"arn:aws:s3:::{state['bucket']}"
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


def _forget_root() -> None:
    # The SDK allows one root stack a process; each recording is a process of its own as far as it can tell.
    settings.set_root_resource(None)  # type: ignore[arg-type]  # typed as if a root could not go
