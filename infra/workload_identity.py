"""What one service account may do in AWS: a role, its policy and the pod identity that joins them.

Which actions a workload needs stands beside the workload. Kubernetes rights are RBAC, beside the workload too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.component import Component

PODS = "pods.eks.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class PodRoleArgs:
    cluster: pulumi.Input[str]
    """Name of the EKS cluster."""
    account: str
    namespace: str
    service_account: str
    name: str
    """Name of the role, from `names.role()`."""
    statements: Sequence[Mapping[str, Any]]
    """Statements of the role's one policy; values may be Outputs. Empty: an identity without rights."""


class PodRole(Component):
    """A role that exactly one service account of one cluster can take."""

    role_arn: pulumi.Output[str]
    service_account: pulumi.Output[str]
    """Known once the association exists: a pod that starts earlier runs without its rights, until it is restarted."""

    def __init__(self, name: str, args: PodRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        role = aws.iam.Role(
            name,
            name=args.name,
            assume_role_policy=pulumi.Output.from_input(args.cluster).apply(
                lambda cluster: trust(cluster, args.account, args.namespace, args.service_account)
            ),
            opts=self.child,
        )
        if args.statements:
            aws.iam.RolePolicy(name, role=role.name, policy=document(args.statements), opts=self.child)
        association = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args.cluster,
            namespace=args.namespace,
            service_account=args.service_account,
            role_arn=role.arn,
            opts=self.child,
        )
        self.role_arn = role.arn
        self.service_account = association.urn.apply(lambda _: args.service_account)
        self.done()


def trust(cluster: str, account: str, namespace: str, service_account: str) -> str:
    """The trust policy: EKS pod identity of this account, for this service account of this cluster alone."""
    condition = {
        "StringEquals": {
            "aws:SourceAccount": account,
            "aws:RequestTag/eks-cluster-name": cluster,
            "aws:RequestTag/kubernetes-namespace": namespace,
            "aws:RequestTag/kubernetes-service-account": service_account,
        }
    }
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": PODS},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": condition,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def document(statements: Sequence[Mapping[str, Any]]) -> pulumi.Output[str]:
    """A policy document from statements whose values may be Outputs."""
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def service_trust(*services: str, account: str | None = None) -> str:
    """A trust policy for AWS services; with `account`, only when they act for that account (the confused deputy)."""
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}
    if account:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
