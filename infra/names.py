"""Every physical name that infra gives, derived in one place. Pure text: no engine, no configuration.

Pulumi's logical names are not here: they stand where the resource is made.
"""

from typing import Literal

from stacks.errors import UserError

PROJECT = "spotforge"
DOMAIN = "spotforge.dev"
"""Prefix of our own Kubernetes labels and taints."""
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET_LIMIT = 63

BucketRole = Literal["artifacts", "data", "ledger", "logs"]


def bucket(stack: str, role: BucketRole, account: str) -> str:
    """A bucket's name: unique in the world by the account, in the account by the stack. Raises UserError when too long."""
    name = f"{PROJECT}-{stack}-{role}-{account}"
    if len(name) > BUCKET_LIMIT:
        raise UserError(
            f"stack {stack!r}: the bucket name {name!r} is longer than {BUCKET_LIMIT} characters",
            f"Shorten the stack's name by {len(name) - BUCKET_LIMIT}.",
        )
    return name


def gpu_pool(name: str) -> str:
    """Name of a pool's NodePool, of its EC2NodeClass, and value of its pool label."""
    return f"gpu-{name}"


def pool_label() -> str:
    """Label key by which a workload selects one pool's nodes."""
    return f"{DOMAIN}/pool"


def default_tags(stack: str, extra: dict[str, str]) -> dict[str, str]:
    """Tags of everything that can be tagged; ours win, because teardown and cost find resources by them."""
    return extra | {"project": PROJECT, "stack": stack, "managed-by": "pulumi"}
