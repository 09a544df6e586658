"""Delta tables in the data bucket: names, reads at a version, appends, partition overwrites.

The only place that knows storage options. What the columns mean belongs to the room that writes the table.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stacks import credentials
from stacks.outputs import StackOutputs

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Tables:
    """The Delta tables of one stack. Table names may hold slashes: `bronze/flights`."""

    outputs: StackOutputs

    def uri(self, name: str) -> str:
        return f"s3://{self.outputs.object_store.buckets.data}/tables/{name}"

    def options(self) -> dict[str, str]:
        """object_store options for delta-rs and polars. Commits are conditional PUTs, so two writers cannot both win."""
        store = self.outputs.object_store
        options = {"aws_region": store.region, "aws_conditional_put": "etag"}
        if store.endpoint:
            options |= {"aws_endpoint": store.endpoint, "aws_allow_http": "true", "aws_virtual_hosted_style_request": "false"}
        key, secret = credentials.read(store)
        if key and secret:
            options |= {"aws_access_key_id": key, "aws_secret_access_key": secret}
        return options

    def open(self, name: str, version: int | None = None) -> "DeltaTable | None":
        """The table at `version` (newest if None), or None when it was never written."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self.uri(name), version=version, storage_options=self.options())
        except TableNotFoundError:
            return None

    def version(self, name: str) -> int | None:
        """Newest version number, or None when the table was never written."""
        table = self.open(name)
        return None if table is None else table.version()

    def scan(self, name: str, version: int | None = None) -> "pl.LazyFrame | None":
        """The table as a lazy frame, or None when it was never written."""
        import polars as pl

        table = self.open(name, version)
        return None if table is None else pl.scan_delta(table)

    def append(self, name: str, frame: Any, *, partition_by: list[str] | None = None) -> None:
        """Append a polars frame or an Arrow table. Concurrent appends retry inside delta-rs; columns may be added."""
        from deltalake import write_deltalake

        write_deltalake(
            self.uri(name), frame, mode="append", partition_by=partition_by, schema_mode="merge", storage_options=self.options()
        )

    def replace(self, name: str, frame: Any, *, partition_by: list[str], predicate: str) -> int:
        """Put `frame` in the place of the rows that `predicate` selects, as one commit; columns may be added.

        Returns the new version.
        """
        from deltalake import DeltaTable, write_deltalake

        uri, options = self.uri(name), self.options()
        existing = self.open(name)
        write_deltalake(
            uri,
            frame,
            mode="overwrite",
            partition_by=partition_by,
            predicate=predicate if existing else None,
            schema_mode="merge",
            storage_options=options,
        )
        return DeltaTable(uri, storage_options=options).version()
