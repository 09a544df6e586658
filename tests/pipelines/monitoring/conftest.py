"""The session's real object store, with buckets of the test's own."""

import uuid
from pathlib import Path

import pytest

from pipelines.objects import Objects
from stacks.credentials import read
from stacks.outputs import Buckets, StackOutputs


@pytest.fixture
def outputs(stack_store: StackOutputs, tmp_path: Path) -> StackOutputs:
    import boto3

    store = stack_store.object_store
    key, secret = read(store)
    client = boto3.client(
        "s3", endpoint_url=store.endpoint, region_name=store.region, aws_access_key_id=key, aws_secret_access_key=secret
    )
    tag = uuid.uuid4().hex[:8]
    names = {role: f"{role}-{tag}" for role in ("artifacts", "data", "ledger", "logs")}
    for role, name in names.items():
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=role == "ledger")
    return stack_store.model_copy(
        update={"object_store": store.model_copy(update={"buckets": Buckets(**names)}), "state_dir": tmp_path}
    )


@pytest.fixture
def ledger_bucket(outputs: StackOutputs) -> Objects:
    return Objects(outputs.object_store, outputs.object_store.buckets.ledger)
