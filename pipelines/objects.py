"""Object storage as the platform uses it: whole objects, conditional writes, listings. The only place that makes an S3 client.

Tables are `pipelines.tables`; what an object means belongs to the room that writes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from stacks import credentials
from stacks.errors import UserError
from stacks.outputs import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# A laptop's store answers in milliseconds; a store that is away should be reported within seconds, not minutes.
CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 20
ATTEMPTS = 4


class ObjectExists(Exception):
    """A conditional PUT found the key taken: somebody else wrote it first."""


class ObjectMissing(KeyError):
    """There is no object under that key."""


@dataclass(frozen=True)
class Stored:
    """One listed object: size in bytes, ETag as the store gives it."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Objects:
    """One bucket. Every method raises UserError when the store cannot be reached."""

    store: ObjectStore
    bucket: str

    def put(self, key: str, body: bytes) -> None:
        self._call("put_object", Key=key, Body=body)

    def put_new(self, key: str, body: bytes) -> None:
        """Write `key` only if it does not exist (If-None-Match: *). Raises ObjectExists if it does."""
        self._call("put_object", Key=key, Body=body, IfNoneMatch="*")

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises ObjectMissing."""
        body: bytes = self._call("get_object", Key=key)["Body"].read()
        return body

    def size(self, key: str) -> int:
        """Its size in bytes. Raises ObjectMissing."""
        return int(self._call("head_object", Key=key)["ContentLength"])

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Stored]:
        """Objects under `prefix` in key order, those after key `after` only."""
        more: dict[str, Any] = {"StartAfter": after} if after else {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **more)
            for entry in page.get("Contents", []):
                yield Stored(entry["Key"], entry["Size"], entry["ETag"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def versions(self, prefix: str = "") -> dict[str, int]:
        """Versions and delete markers that the bucket holds of each key under `prefix`; 1 each where it is not versioned."""
        found: dict[str, int] = {}
        more: dict[str, Any] = {}
        while True:
            page = self._call("list_object_versions", Prefix=prefix, **more)
            for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                found[entry["Key"]] = found.get(entry["Key"], 0) + 1
            if not page.get("IsTruncated"):
                return found
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _call(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
                raise ObjectExists(arguments.get("Key", "")) from error
            if code in {"NoSuchKey", "404"}:
                raise ObjectMissing(arguments.get("Key", "")) from error
            raise UserError(
                f"object store, bucket {self.bucket!r}: {code or error}", "Check `spotforge status` and the credentials."
            ) from error
        except BotoCoreError as error:
            where = self.store.endpoint or f"S3 in {self.store.region}"
            raise UserError(
                f"object store {where} cannot be reached ({type(error).__name__})",
                "Run `spotforge status`, then `spotforge up`.",
            ) from error

    @property
    def _client(self) -> "S3Client":
        return _client_of(self.store)


@cache
def _client_of(store: ObjectStore) -> "S3Client":
    """One client a store and process: making one takes 50 ms, and it may be shared among threads."""
    import boto3
    from botocore.config import Config

    key, secret = credentials.read(store)
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"max_attempts": ATTEMPTS, "mode": "standard"},
            s3={"addressing_style": "path"} if store.endpoint else {},
        ),
    )
