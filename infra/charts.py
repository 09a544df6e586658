"""The Helm charts that an environment installs: where each is, at which version, and the page its values were read on.

What is set in a chart stands beside the component that installs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s


@dataclass(frozen=True)
class Chart:
    """One pinned chart."""

    name: str
    """Name in the repository, or an `oci://` reference."""
    version: str
    repository: str | None
    """Address of the repository; None where `name` is an OCI reference."""
    values_page: str
    """The values file at this version, in which every key that we set was looked up."""


def install(
    name: str,
    chart: Chart,
    *,
    namespace: pulumi.Input[str],
    values: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    skip_crds: bool = False,
) -> k8s.helm.v3.Release:
    """A release of the chart that takes itself back when it fails, under a name that does not change."""
    return k8s.helm.v3.Release(
        name,
        name=name,
        chart=chart.name,
        version=chart.version,
        repository_opts={"repo": chart.repository} if chart.repository else None,
        namespace=namespace,
        values=values,
        skip_crds=skip_crds,
        # A release that half came up is put back, so that the next `up` starts from a whole state.
        atomic=True,
        # https://helm.sh/docs/helm/helm_upgrade/: 300 s is the default; GPU drivers and webhooks take longer on new nodes.
        timeout=900,
        opts=opts,
    )
