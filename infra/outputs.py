"""Components to StackOutputs, exported under one name: `pulumi stack output outputs --json` is an outputs file.

What the outputs are is `stacks.outputs`; nothing is invented here that a component or the configuration does not say.
"""

import json
from typing import Any

import pulumi

from infra.buckets import Buckets
from stacks import outputs as contract
from stacks.schema import StackConfig

NAME = "outputs"


def stack_outputs(stack: str, config: StackConfig, buckets: Buckets) -> pulumi.Output[dict[str, Any]]:
    """The outputs as plain data, once every part of them is known."""

    def assemble(names: dict[str, str]) -> dict[str, Any]:
        existing = config.existing
        whole = contract.StackOutputs(
            stack=stack,
            platform="kubernetes",
            object_store=contract.ObjectStore(region=config.region, buckets=contract.Buckets(**names)),
            tracking=contract.Tracking(uri=existing.tracking_uri),
            orchestration=contract.Orchestration(url=existing.orchestration_url),
            gateway=contract.Gateway(url=existing.gateway_url, admin_url=existing.gateway_admin_url),
        )
        data: dict[str, Any] = json.loads(whole.to_json())
        return data

    return pulumi.Output.all(artifacts=buckets.artifacts, data=buckets.data, ledger=buckets.ledger, logs=buckets.logs).apply(
        assemble
    )


def export(stack: str, config: StackConfig, buckets: Buckets) -> None:
    pulumi.export(NAME, stack_outputs(stack, config, buckets))
