"""The parts of an environment but its GPU pools: network, cluster, database, buckets, who gets in, who is told.

How the parts fit together is judged in `stacks.schema`; pools are `stacks.pools`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stacks.part import Cidr, Domain, Email, Image, InstanceType, Part, RoleArn, overlap
from stacks.refusal import refuse

# AWS allows /16 to /28 (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html); below /20 pods have no room.
SMALLEST_VPC = 20
EVERYWHERE = "0.0.0.0/0"


class Network(Part):
    """The VPC. Subnets are derived from its block (`infra.subnets`)."""

    cidr: Cidr
    zones: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")], ...] = Field(min_length=2, max_length=3)
    nat: Literal["none", "one", "per-zone"] = "one"
    """`none`: nothing leaves the VPC but through endpoints. `one`: a zone's failure cuts all off from the internet."""
    service_cidr: Cidr = "172.20.0.0/16"
    """Addresses of Kubernetes services: virtual, but they must be nobody's."""
    reserved: tuple[Cidr, ...] = ()
    """Networks that are reached from here (VPN, peering, offices) and so must not overlap with it."""
    flow_log_days: int = Field(default=90, ge=1)

    @model_validator(mode="after")
    def _blocks_are_apart(self) -> "Network":
        prefix = int(self.cidr.rpartition("/")[2])
        if not 16 <= prefix <= SMALLEST_VPC:  # noqa: PLR2004 - AWS's own limit, see SMALLEST_VPC
            raise refuse(f"network.cidr: {self.cidr} has no room or is too big for a VPC; take a /16 to a /{SMALLEST_VPC}")
        for other, key in ((self.service_cidr, "serviceCidr"), *((block, "reserved") for block in self.reserved)):
            if overlap(self.cidr, other):
                raise refuse(f"network.cidr: {self.cidr} overlaps {key} {other}; choose another block")
        for block in self.reserved:
            if overlap(self.service_cidr, block):
                raise refuse(f"network.serviceCidr: {self.service_cidr} overlaps reserved {block}; choose another block")
        if len(set(self.zones)) < len(self.zones):
            raise refuse("network.zones: a zone is named twice; name each once")
        return self


class Endpoint(Part):
    """Who reaches the cluster's API. One of the two must be said: there is no default that is right for everybody."""

    public_cidrs: tuple[Cidr, ...] = ()
    """Networks from which the public endpoint answers: offices, VPN, the deploying runners."""
    private: bool = False
    """No public endpoint at all: the deploy runs inside the VPC, or in a network joined to it."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "Endpoint":
        if self.private == bool(self.public_cidrs):
            raise refuse(
                "cluster.endpoint: give publicCidrs or private: true, one of both; a laptop cannot reach a private endpoint,"
                " and a public one without a list answers the world"
            )
        if EVERYWHERE in self.public_cidrs:
            raise refuse(f"cluster.endpoint.publicCidrs: {EVERYWHERE} is the world; list your own networks")
        return self


class SystemNodes(Part):
    """The on-demand nodes that hold what must not be reclaimed: Karpenter, CoreDNS, MLflow, Dagster, the gateway."""

    instance_types: tuple[InstanceType, ...] = ("m7i.xlarge", "m6i.xlarge")
    minimum: int = Field(default=2, ge=1)
    maximum: int = Field(default=6, ge=1)
    volume_gib: int = Field(default=60, ge=20, le=1024)
    release_version: str | None = Field(default=None, pattern=r"^\d+\.\d+\.\d+-[0-9a-f]{8}$")
    """Bottlerocket release as EKS names it, `1.46.0-0123abcd`; None: the newest when the group is made, then it stays."""

    @model_validator(mode="after")
    def _ordered(self) -> "SystemNodes":
        if self.maximum < self.minimum:
            raise refuse(f"cluster.system: maximum {self.maximum} is less than minimum {self.minimum}; raise it")
        return self


class Cluster(Part):
    """The EKS cluster."""

    version: str = Field(pattern=r"^1\.\d{2}$")
    endpoint: Endpoint
    admins: tuple[RoleArn, ...] = Field(min_length=1)
    """Roles that may do everything in the cluster: the deploy role and the team's break-glass role."""
    viewers: tuple[RoleArn, ...] = ()
    log_days: int = Field(default=90, ge=1)
    system: SystemNodes = SystemNodes()


class Database(Part):
    """RDS Postgres for MLflow and Dagster."""

    instance_class: str = Field(default="db.t4g.medium", pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")
    version: str = Field(default="17", pattern=r"^\d{2}(\.\d{1,2})?$")
    storage_gib: int = Field(default=50, ge=20)
    max_storage_gib: int = Field(default=200, ge=20)
    multi_zone: bool = False
    backup_days: int = Field(default=7, ge=1, le=35)
    deletion_protection: bool = True
    final_snapshot: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> "Database":
        if self.max_storage_gib < self.storage_gib:
            raise refuse(f"database.maxStorageGib: {self.max_storage_gib} is less than storageGib {self.storage_gib}; raise it")
        return self


class Buckets(Part):
    """Lifecycle of what is not kept for ever. Days."""

    noncurrent_days: int = Field(default=30, ge=1)
    """How long an overwritten or deleted version can still be brought back."""
    checkpoint_days: int = Field(default=30, ge=1)
    """Checkpoints older than this belong to no run that still goes on."""
    log_days: int = Field(default=90, ge=1)
    force_destroy: bool = False
    """Whether `pulumi destroy` may delete buckets that hold objects. Never applies to the ledger."""


class Ledger(Part):
    """Object Lock of the ledger bucket. In compliance mode nobody, root included, deletes a record before its day."""

    mode: Literal["governance", "compliance"]
    retention_days: int = Field(ge=1, le=36500)


class Access(Part):
    """How people get in: names under one domain, and any OIDC issuer in front of MLflow, Dagster and Grafana."""

    domain: Domain
    """`predict.`, `mlflow.`, `dagster.` and `grafana.` stand before it."""
    hosted_zone: str = Field(pattern=r"^Z[0-9A-Z]{5,31}$")
    """Route 53 zone of the domain: certificates are proven there."""
    issuer: Annotated[str, Field(pattern=r"^https://[^\s]+$")]
    client_id: str = Field(min_length=1)
    client_secret: str = Field(pattern=r"^[A-Za-z0-9/_+=.@-]+$")
    """Name of the Secrets Manager secret that holds `client-secret` and `cookie-secret`; never the secret itself."""
    email_domains: tuple[Domain, ...] = Field(min_length=1)
    """Whose accounts at the issuer are let in."""
    networks: tuple[Cidr, ...] = ()
    """From where the gateway answers; empty: only from inside the VPC (an internal load balancer)."""


class Alerts(Part):
    """Who is told."""

    email: Email
    budget_usd: int = Field(ge=1)
    """Dollars a month; alarms at 50, 80 and 100 % spent, and at 100 % forecast."""


class Images(Part):
    """The images that `spotforge publish` pushed. A workload without one is skipped, and the plan says so."""

    mlflow: Image | None = None
    pipelines: Image | None = None
    """The Dagster code location and its runs."""
    model_server: Image | None = None
    trainer: Image | None = None
    """The training worker with CUDA; GPU pools pull it ahead where they are told to."""


class Quotas(Part):
    """vCPUs that AWS lets this account run at once in the region, by purchase and class. `spotforge doctor` compares."""

    g_spot: int = Field(default=0, ge=0)
    g_on_demand: int = Field(default=0, ge=0)
    p_spot: int = Field(default=0, ge=0)
    p_on_demand: int = Field(default=0, ge=0)
