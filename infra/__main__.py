"""What an environment is made of, in order. A table of contents: no resource literal stands here."""

import pulumi

from infra import config as configuration
from infra import names, outputs, providers
from infra.buckets import Buckets, BucketsArgs
from infra.gpu_pools import GpuPool, GpuPoolArgs


def main() -> None:
    stack = pulumi.get_stack()
    config = configuration.load()
    tags = names.default_tags(stack, config.tags)
    provided = providers.build(stack, config)

    buckets = Buckets(
        "buckets",
        BucketsArgs(stack=stack, account=config.account, lifecycle=config.buckets, ledger=config.ledger),
        provided.options(protect=config.protect),
    )
    for pool in config.gpu_pools:
        GpuPool(
            names.gpu_pool(pool.name),
            GpuPoolArgs(pool=pool, cluster=config.existing.cluster, tags=tags),
            provided.options(),
        )
    outputs.export(stack, config, buckets)


if __name__ == "__main__":
    main()
