"""StackConfig: what people write of an environment, in `stacks/Pulumi.<stack>.yaml`. Refused whole, never half-read.

No secret enters it, only references. What an environment hands back is `stacks.outputs`.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from stacks import gpu_types, offers
from stacks.errors import UserError
from stacks.refusal import as_user_error, meant, refuse, sentence

KEY = "spotforge:environment"
"""The one configuration key: a single object is read, or refused, as a whole."""
FOLDER = Path(__file__).resolve().parent
JSON_SCHEMA = FOLDER / "schema.json"

Label = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$")]
"""A DNS label that leaves room for a prefix and a suffix in the 63 characters of a Kubernetes name."""
Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+$")]
Duration = Annotated[str, Field(pattern=r"^(([0-9]+(s|m|h))+|Never)$")]
Capacity = Literal["reserved", "spot", "on-demand"]
ORDER: tuple[Capacity, ...] = ("reserved", "spot", "on-demand")
"""The order in which Karpenter tries capacity types; a pool chooses among them but cannot reorder them."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)


class Buckets(_Part):
    """Lifecycle of what is not kept for ever. Days."""

    noncurrent_days: int = Field(default=30, ge=1)
    """How long an overwritten or deleted version can still be brought back."""
    checkpoint_days: int = Field(default=30, ge=1)
    """Checkpoints older than this belong to no run that still goes on."""
    log_days: int = Field(default=90, ge=1)
    force_destroy: bool = False
    """Whether `pulumi destroy` may delete buckets that hold objects. Never applies to the ledger."""


class Ledger(_Part):
    """Object Lock of the ledger bucket. In compliance mode nobody, root included, deletes a record before its day."""

    mode: Literal["governance", "compliance"]
    retention_days: int = Field(ge=1, le=36500)


class Cluster(_Part):
    """An EKS cluster that stands already, with Karpenter in it."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$")
    context: str = Field(min_length=1)
    """The kubeconfig context through which the deploying machine reaches it."""
    node_role: str = Field(min_length=1)
    """Name of the IAM role that Karpenter gives its nodes."""


class Existing(_Part):
    """What the environment has already and this program does not build yet; each future component takes its keys away."""

    cluster: Cluster
    tracking_uri: Url
    orchestration_url: Url
    gateway_url: Url
    gateway_admin_url: Url


class Budget(_Part):
    """How many of a pool's nodes may be disrupted at once; with a schedule, only from then on for `duration`."""

    nodes: str = Field(pattern=r"^((100|[0-9]{1,2})%|[0-9]+)$")
    reasons: tuple[Literal["Underutilized", "Empty", "Drifted"], ...] = ()
    schedule: str | None = None
    """Cron, UTC."""
    duration: Annotated[str, Field(pattern=r"^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$")] | None = None

    @model_validator(mode="after")
    def _schedule_has_a_duration(self) -> "Budget":
        if (self.schedule is None) != (self.duration is None):
            raise refuse("a budget has schedule and duration together or neither; add the missing one")
        return self


class Disruption(_Part):
    """When Karpenter may take a node away by itself. Spot reclaims are not asked."""

    consolidation_policy: Literal["WhenEmpty", "WhenEmptyOrUnderutilized"] = "WhenEmpty"
    """WhenEmpty never moves a running pod: the default, as moving a training pod costs the work since its last checkpoint."""
    consolidate_after: Duration = "5m"
    expire_after: Duration = "336h"
    """Two weeks: nodes take up AMI fixes, and expiry (which ignores budgets) stays rare."""
    budgets: tuple[Budget, ...] = (Budget.model_construct(nodes="20%"),)


class GpuPool(_Part):
    """One pool of GPU nodes: which machines, bought how, for whom."""

    name: Label
    families: tuple[str, ...] = Field(min_length=1)
    """Instance families; the more, the rarer is a pool without spot capacity."""
    gpus_per_node: int = Field(default=1, ge=1)
    """Exactly so many: Karpenter packs onto the fewest nodes, so a pool of mixed sizes buys the biggest."""
    sizes: tuple[str, ...] = ()
    """Only these sizes; empty means every size with that many GPUs."""
    capacity: tuple[Capacity, ...] = ("spot", "on-demand")
    """What may be bought. Tried in the order reserved, spot, on-demand."""
    capacity_reservations: tuple[Annotated[str, Field(pattern=r"^cr-[0-9a-z]+$")], ...] = ()
    zones: tuple[str, ...] = ()
    """Availability zones; empty means every zone of the cluster's subnets."""
    max_gpus: int = Field(ge=1)
    ami: str
    """`bottlerocket@vX.Y.Z` or `al2023@vYYYYMMDD`; pinned, so that a new image is a change that is reviewed."""
    root_volume_gib: int = Field(default=100, ge=20, le=16384)
    scratch: bool = True
    """Join the instance's own NVMe disks into one volume for pods' ephemeral storage."""
    labels: dict[str, str] = Field(default_factory=dict)
    disruption: Disruption = Disruption()

    @property
    def instance_types(self) -> tuple[str, ...]:
        return gpu_types.expand(self.families, gpus=self.gpus_per_node, sizes=self.sizes)

    @model_validator(mode="after")
    def _machines_exist(self) -> "GpuPool":
        for family in self.families:
            if family not in gpu_types.GPUS:
                raise refuse(f"pool '{self.name}': families: no GPU family {family!r}; {meant(family, gpu_types.GPUS)}")
            if not gpu_types.expand((family,), gpus=self.gpus_per_node, sizes=self.sizes):
                counts = sorted(set(gpu_types.GPUS[family].values()))
                raise refuse(
                    f"pool '{self.name}': families: {family} has no type with {self.gpus_per_node} GPUs a node in the sizes"
                    f" asked for (it has {', '.join(map(str, counts))}); drop it or change gpusPerNode or sizes"
                )
        if self.max_gpus < self.gpus_per_node:
            raise refuse(
                f"pool '{self.name}': maxGpus: {self.max_gpus} is less than one node; give {self.gpus_per_node} or more"
            )
        return self

    @model_validator(mode="after")
    def _capacity_can_be_bought(self) -> "GpuPool":
        wanted = tuple(kind for kind in ORDER if kind in self.capacity)
        if self.capacity != wanted:
            raise refuse(f"pool '{self.name}': capacity: Karpenter's order is fixed; write [{', '.join(wanted)}]")
        if not wanted:
            raise refuse(f"pool '{self.name}': capacity: nothing may be bought; name spot, on-demand or reserved")
        if ("reserved" in wanted) != bool(self.capacity_reservations):
            move = "list their ids" if "reserved" in wanted else "add reserved to capacity"
            raise refuse(f"pool '{self.name}': capacityReservations and capacity disagree; {move}")
        return self

    @model_validator(mode="after")
    def _image_is_pinned(self) -> "GpuPool":
        if not re.fullmatch(r"bottlerocket@v\d+\.\d+\.\d+|al2023@v\d{8}", self.ami):
            raise refuse(
                f"pool '{self.name}': ami: {self.ami!r} is no pinned image; write bottlerocket@vX.Y.Z or al2023@vYYYYMMDD"
            )
        return self


class StackConfig(_Part):
    """One environment."""

    account: str = Field(pattern=r"^\d{12}$")
    """AWS account id, quoted. The provider refuses to touch any other account."""
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    tags: dict[str, str] = Field(default_factory=dict)
    """Added to every resource that takes tags."""
    protect: bool = True
    """Whether Pulumi refuses to delete the buckets."""
    buckets: Buckets = Buckets()
    ledger: Ledger
    existing: Existing
    gpu_pools: tuple[GpuPool, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> "StackConfig":
        names = [pool.name for pool in self.gpu_pools]
        for name in names:
            if names.count(name) > 1:
                raise refuse(f"gpuPools: two pools are named '{name}'; rename one")
        for pool in self.gpu_pools:
            for zone in pool.zones:
                if not zone.startswith(self.region):
                    raise refuse(f"gpuPools: pool '{pool.name}': zones: {zone!r} is not in {self.region}; correct one of them")
            if wrong := offers.problem(self.region, pool.instance_types):
                raise refuse(f"gpuPools: pool '{pool.name}': families: {wrong}")
        return self

    @classmethod
    def parse(cls, value: Any, source: str) -> "StackConfig":
        """The configuration in `value` (as YAML or JSON gives it). Raises UserError that names the key and the next move."""
        try:
            # Through JSON, because strict mode takes a list for a tuple only from there.
            return cls.model_validate_json(json.dumps(value))
        except ValidationError as error:
            raise as_user_error(error, cls, source) from error


class _ConfigBlock(BaseModel):
    model_config = ConfigDict(extra="forbid")

    environment: StackConfig = Field(alias=KEY)
    disable_default_providers: list[str] = Field(default_factory=list, alias="pulumi:disable-default-providers")
    """`["*"]`: a resource that was handed no provider fails, in place of landing in whatever account is at hand."""


class StackFile(BaseModel):
    """A whole `Pulumi.<stack>.yaml`: what an editor checks."""

    model_config = ConfigDict(extra="forbid")

    config: _ConfigBlock
    secretsprovider: str | None = None
    encryptedkey: str | None = None
    encryptionsalt: str | None = None


def read(stack: str, folder: Path = FOLDER) -> StackConfig:
    """The configuration of a stack from its file. Raises UserError when there is none or it is not whole."""
    path = folder / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        known = sorted(other.name.removeprefix("Pulumi.").removesuffix(".yaml") for other in folder.glob("Pulumi.*.yaml"))
        raise UserError(f"there is no stack {stack!r}", f"{sentence(meant(stack, known))} Or write {path.name}.")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path.name} is no YAML: {str(error).splitlines()[0]}", "Correct the file.") from error
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or KEY not in config:
        raise UserError(f"{path.name}: config has no key {KEY}", "Add it; stacks/Pulumi.dev.yaml is an example.")
    return StackConfig.parse(config[KEY], path.name)


def json_schema() -> str:
    """The JSON schema of a stack file, for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **StackFile.model_json_schema(by_alias=True)}
    return json.dumps(schema, indent=2) + "\n"
