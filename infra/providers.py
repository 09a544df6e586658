"""The providers, made once from the configuration: the right account or none, and every tag in one place."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s

from infra import names
from stacks.schema import StackConfig


@dataclass(frozen=True)
class Providers:
    """Handed to components as options; `disable-default-providers` makes a forgotten one an error."""

    aws: aws.Provider
    kubernetes: k8s.Provider

    def options(self, *, protect: bool = False) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[self.aws, self.kubernetes], protect=protect)


def build(stack: str, config: StackConfig) -> Providers:
    return Providers(
        aws.Provider(
            "aws",
            region=config.region,
            # Credentials of another account stop here instead of building a second environment there.
            allowed_account_ids=[config.account],
            default_tags={"tags": names.default_tags(stack, config.tags)},
        ),
        k8s.Provider(
            "kubernetes",
            context=config.existing.cluster.context,
            enable_server_side_apply=True,
        ),
    )
