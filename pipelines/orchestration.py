"""What every room's `defs.py` shares with Dagster: the stack as a resource, records as values, months as partitions.

Beside the `defs.py` files and `definitions.py`, the only module that imports dagster. No assets here.
"""

import json
from typing import Any

import dagster as dg

from pipelines.model import Model, load_model
from pipelines.objects import Objects
from pipelines.tables import Tables
from stacks.outputs import StackOutputs


class Platform(dg.ConfigurableResource[Any]):
    """The stack this code location runs on; everything is read when first used, nothing at import."""

    outputs_file: str | None = None
    """JSON file with the StackOutputs; None means the one that $SPOTFORGE_OUTPUTS names."""

    @property
    def outputs(self) -> StackOutputs:
        from pathlib import Path

        return StackOutputs.load(Path(self.outputs_file) if self.outputs_file else None)

    @property
    def model(self) -> Model:
        return load_model(self.outputs.model)

    @property
    def tables(self) -> Tables:
        return Tables(self.outputs)

    def bucket(self, name: str) -> Objects:
        """One of the stack's buckets by its role: artifacts, data, ledger or logs."""
        store = self.outputs.object_store
        return Objects(store, getattr(store.buckets, name))

    def record(self, asset: str) -> dict[str, Any]:
        """What an asset without partitions handed on last. With `deps`, it spares the two events that a loaded input costs."""
        content: dict[str, Any] = json.loads(self.bucket("artifacts").get(record_key(asset)))
        return content


class RecordIOManager(dg.ConfigurableIOManager):
    """Assets hand each other small JSON records (references into tables and buckets), never data frames.

    One object an asset and partition, `records/<asset>[/<partition>].json` in the artifacts bucket; the newest wins.
    """

    platform: dg.ResourceDependency[Platform]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if obj is not None:
            self.platform.bucket("artifacts").put(self._key(context), json.dumps(obj, default=str).encode())

    def load_input(self, context: dg.InputContext) -> Any:
        return json.loads(self.platform.bucket("artifacts").get(self._key(context)))

    def _key(self, context: dg.InputContext | dg.OutputContext) -> str:
        partition = context.asset_partition_key if context.has_asset_partitions else None
        return record_key(*context.asset_key.path, partition=partition)


def record_key(*asset: str, partition: str | None = None) -> str:
    """Where an asset's record lies in the artifacts bucket."""
    return "/".join(["records", *asset, *([partition] if partition else [])]) + ".json"


def months(model: Model) -> dg.StaticPartitionsDefinition:
    """The partitions of a model's data: one a month."""
    return dg.StaticPartitionsDefinition(list(model.partitions))


def shown(record: dict[str, Any]) -> dict[str, Any]:
    """A record as the UI's metadata: plain JSON values, missing ones left out."""
    plain: dict[str, Any] = json.loads(json.dumps(record, default=str))
    return {key: value for key, value in plain.items() if value is not None}
