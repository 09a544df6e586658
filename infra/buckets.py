"""The four buckets: artifacts, data, ledger and logs. Private, encrypted, versioned, TLS only.

Who may read and write them is granted where the reader is made, not here.
"""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import names
from infra.component import Component
from stacks import schema

# A multipart upload that has not ended after a week never will; its parts are billed and invisible.
ABORT_UPLOADS_DAYS = 7
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html: TLS 1.0 and 1.1 are refused.
TLS_VERSION = "1.2"
LOGGING = "logging.s3.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class BucketsArgs:
    stack: str
    account: str
    lifecycle: schema.Buckets
    ledger: schema.Ledger
    key_arn: pulumi.Input[str] | None = None
    """KMS key for objects; None means keys that S3 manages. The logs bucket is always S3's: S3 cannot write logs with KMS."""


class Buckets(Component):
    """Names of the buckets, as StackOutputs hands them on."""

    artifacts: pulumi.Output[str]
    data: pulumi.Output[str]
    ledger: pulumi.Output[str]
    logs: pulumi.Output[str]

    def __init__(self, name: str, args: BucketsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._args = args
        days = args.lifecycle
        logs = self._create_bucket("logs", [expire("logs", days.log_days), *tidy(days.noncurrent_days)])
        artifacts = self._create_bucket(
            "artifacts", [expire("checkpoints", days.checkpoint_days, "checkpoints/"), *tidy(days.noncurrent_days)]
        )
        data = self._create_bucket("data", tidy(days.noncurrent_days))
        # Nothing in the ledger expires: a chain with a missing record proves nothing.
        ledger = self._create_bucket("ledger", [abort_uploads()])
        self._lock(ledger)
        for role, bucket in (("artifacts", artifacts), ("data", data), ("ledger", ledger)):
            self._log_access(role, bucket, logs)
        self.artifacts, self.data, self.ledger, self.logs = artifacts.bucket, data.bucket, ledger.bucket, logs.bucket
        self.done()

    def _create_bucket(self, role: names.BucketRole, rules: list[dict[str, Any]]) -> aws.s3.Bucket:
        args = self._args
        bucket = aws.s3.Bucket(
            role,
            bucket=names.bucket(args.stack, role, args.account),
            object_lock_enabled=role == "ledger",
            force_destroy=args.lifecycle.force_destroy and role != "ledger",
            opts=self.child,
        )
        aws.s3.BucketOwnershipControls(
            role, bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=self.child
        )
        closed = aws.s3.BucketPublicAccessBlock(
            role,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.child,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            role, bucket=bucket.bucket, rules=[encryption(None if role == "logs" else args.key_arn)], opts=self.child
        )
        versioned = aws.s3.BucketVersioning(
            role, bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=self.child
        )
        aws.s3.BucketLifecycleConfiguration(
            role,
            bucket=bucket.bucket,
            rules=rules,  # type: ignore[arg-type]  # plain dicts; the SDK types them as its own TypedDicts
            # Rules for noncurrent versions are refused on a bucket that is not versioned yet.
            opts=self.child_after(versioned),
        )
        aws.s3.BucketPolicy(
            role,
            bucket=bucket.bucket,
            policy=bucket.arn.apply(lambda arn: policy(arn, log_target_of=args.account if role == "logs" else None)),
            # S3 answers "conflicting operation" when both are written at once.
            opts=self.child_after(closed),
        )
        return bucket

    def _lock(self, ledger: aws.s3.Bucket) -> None:
        lock = self._args.ledger
        aws.s3.BucketObjectLockConfiguration(
            "ledger",
            bucket=ledger.bucket,
            rule={"default_retention": {"mode": lock.mode.upper(), "days": lock.retention_days}},
            opts=self.child,
        )

    def _log_access(self, role: str, bucket: aws.s3.Bucket, logs: aws.s3.Bucket) -> None:
        aws.s3.BucketLogging(
            role, bucket=bucket.bucket, target_bucket=logs.bucket, target_prefix=f"s3/{role}/", opts=self.child
        )


def policy(arn: str, *, log_target_of: str | None = None) -> str:
    """A bucket's policy: no plain HTTP, no old TLS; and, where it takes the access logs of an account, S3's own writer."""
    both = [arn, f"{arn}/*"]

    def deny(name: str, condition: dict[str, Any]) -> dict[str, Any]:
        return {"Sid": name, "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": both, "Condition": condition}

    statements = [
        deny("TlsOnly", {"Bool": {"aws:SecureTransport": "false"}}),
        deny("NoOldTls", {"NumericLessThan": {"s3:TlsVersion": TLS_VERSION}}),
    ]
    if log_target_of:
        statements.append(
            {
                "Sid": "AccessLogs",
                "Effect": "Allow",
                "Principal": {"Service": LOGGING},
                "Action": "s3:PutObject",
                "Resource": f"{arn}/*",
                "Condition": {"StringEquals": {"aws:SourceAccount": log_target_of}},
            }
        )
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def encryption(key_arn: pulumi.Input[str] | None) -> Any:
    """The default encryption rule: a KMS key with a bucket key (one call to KMS a bucket, not one an object), or S3's own."""
    if key_arn is None:
        return {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
    return {
        "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key_arn},
        "bucket_key_enabled": True,
    }


def expire(name: str, days: int, prefix: str = "") -> dict[str, Any]:
    return {"id": f"expire-{name}", "status": "Enabled", "filter": {"prefix": prefix}, "expiration": {"days": days}}


def abort_uploads() -> dict[str, Any]:
    return {
        "id": "abort-uploads",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "abort_incomplete_multipart_upload": {"days_after_initiation": ABORT_UPLOADS_DAYS},
    }


def tidy(noncurrent_days: int) -> list[dict[str, Any]]:
    """Rules of a bucket whose old versions need not be kept for ever."""
    old = {
        "id": "expire-old-versions",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "noncurrent_version_expiration": {"noncurrent_days": noncurrent_days},
        "expiration": {"expired_object_delete_marker": True},
    }
    return [old, abort_uploads()]
