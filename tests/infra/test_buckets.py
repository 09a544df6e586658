"""The buckets component on the recording engine, and its policy as data."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import buckets, names
from infra.plan import Recording, record
from stacks import schema
from stacks.errors import UserError

ROLES = {"artifacts", "data", "ledger", "logs"}
ACCOUNT = "123456789012"


def made(mode: str = "compliance", key_arn: str | None = None, force_destroy: bool = False) -> Recording:
    args = buckets.BucketsArgs(
        stack="dev",
        account=ACCOUNT,
        lifecycle=schema.Buckets.model_validate({"forceDestroy": force_destroy, "noncurrentDays": 9, "checkpointDays": 5}),
        ledger=schema.Ledger.model_validate({"mode": mode, "retentionDays": 7}),
        key_arn=key_arn,
    )

    def program() -> None:
        buckets.Buckets("buckets", args)

    return record(program)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return made()


def setting(recording: Recording, kind: str) -> dict[str, dict[str, Any]]:
    token = f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}"
    return {name: resource.inputs for name, resource in recording.of(token).items()}


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("BucketVersioning", lambda inputs: inputs["versioningConfiguration"] == {"status": "Enabled"}),
        (
            "BucketPublicAccessBlock",
            lambda inputs: all(
                inputs[key] is True
                for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
            ),
        ),
        ("BucketOwnershipControls", lambda inputs: inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}),
        ("BucketServerSideEncryptionConfiguration", lambda inputs: len(inputs["rules"]) == 1),
        ("BucketPolicy", lambda inputs: "aws:SecureTransport" in inputs["policy"]),
        ("BucketLifecycleConfiguration", lambda inputs: all(rule["status"] == "Enabled" for rule in inputs["rules"])),
    ],
)
def test_every_bucket_has_its_own(recording: Recording, kind: str, holds: Callable[[dict[str, Any]], bool]) -> None:
    found = setting(recording, kind)
    assert set(found) == ROLES
    for role, inputs in found.items():
        assert inputs["bucket"] == names.bucket("dev", role, ACCOUNT), "the setting is on the bucket of its own name"  # type: ignore[arg-type]
        assert holds(inputs), f"{role}: {inputs}"


def test_only_the_ledger_is_locked_and_for_as_long_as_configured(recording: Recording) -> None:
    locks = setting(recording, "BucketObjectLockConfiguration")
    assert set(locks) == {"ledger"}
    assert locks["ledger"]["rule"]["defaultRetention"] == {"mode": "COMPLIANCE", "days": 7}
    locked = {name for name, inputs in setting(recording, "Bucket").items() if inputs["objectLockEnabled"]}
    assert locked == {"ledger"}, "a lock can only be had at the bucket's birth"


def test_nothing_in_the_ledger_ever_expires(recording: Recording) -> None:
    (rule,) = setting(recording, "BucketLifecycleConfiguration")["ledger"]["rules"]
    assert "expiration" not in rule
    assert "noncurrentVersionExpiration" not in rule


def test_only_checkpoints_expire_among_the_artifacts(recording: Recording) -> None:
    rules = setting(recording, "BucketLifecycleConfiguration")["artifacts"]["rules"]
    expiring = [rule for rule in rules if "days" in rule.get("expiration", {})]
    assert [(rule["filter"], rule["expiration"]) for rule in expiring] == [({"prefix": "checkpoints/"}, {"days": 5})]


def test_force_destroy_never_reaches_the_ledger() -> None:
    forced = {name for name, inputs in setting(made(force_destroy=True), "Bucket").items() if inputs["forceDestroy"]}
    assert forced == ROLES - {"ledger"}


def test_a_key_encrypts_all_but_the_logs_which_s3_can_only_write_with_its_own() -> None:
    found = setting(made(key_arn="arn:aws:kms:eu-west-1:123456789012:key/k"), "BucketServerSideEncryptionConfiguration")
    algorithms = {
        role: inputs["rules"][0]["applyServerSideEncryptionByDefault"]["sseAlgorithm"] for role, inputs in found.items()
    }
    assert algorithms == {"artifacts": "aws:kms", "data": "aws:kms", "ledger": "aws:kms", "logs": "AES256"}


def test_access_to_every_other_bucket_is_logged_under_its_own_prefix(recording: Recording) -> None:
    logging = setting(recording, "BucketLogging")
    assert {role: inputs["targetPrefix"] for role, inputs in logging.items()} == {
        role: f"s3/{role}/" for role in ROLES - {"logs"}
    }
    assert {inputs["targetBucket"] for inputs in logging.values()} == {names.bucket("dev", "logs", ACCOUNT)}


def test_the_policy_denies_everybody_without_tls_and_allows_only_the_log_writer() -> None:
    plain = json.loads(buckets.policy("arn:aws:s3:::b"))["Statement"]
    assert {statement["Effect"] for statement in plain} == {"Deny"}
    tls = next(statement for statement in plain if statement["Sid"] == "TlsOnly")
    assert tls["Principal"] == "*"
    assert tls["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "the bucket itself and what is in it"
    allowed = [
        s for s in json.loads(buckets.policy("arn:aws:s3:::b", log_target_of=ACCOUNT))["Statement"] if s["Effect"] == "Allow"
    ]
    assert [(s["Principal"], s["Action"], s["Condition"]) for s in allowed] == [
        ({"Service": buckets.LOGGING}, "s3:PutObject", {"StringEquals": {"aws:SourceAccount": ACCOUNT}})
    ]


@given(st.from_regex(r"[a-z][a-z0-9-]{0,60}", fullmatch=True))
def test_a_bucket_name_fits_s3_or_is_refused(stack: str) -> None:
    try:
        made_up = {names.bucket(stack, role, ACCOUNT) for role in ("artifacts", "data", "ledger", "logs")}
    except UserError as error:
        assert "Shorten" in error.do
        return
    assert len(made_up) == 4, "no two roles share a bucket"
    assert all(len(name) <= 63 for name in made_up)
