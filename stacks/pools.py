"""GPU pools, the heart of a stack's configuration: which machines, bought how, shared how, for whom.

What a pool becomes in the cluster is `infra.gpu_pools`; what machines exist is `stacks.gpu_types`.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stacks import gpu_types
from stacks.part import Duration, Image, Label, Part
from stacks.refusal import meant, refuse

Capacity = Literal["reserved", "spot", "on-demand"]
ORDER: tuple[Capacity, ...] = ("reserved", "spot", "on-demand")
"""The order in which Karpenter tries capacity types; a pool chooses among them but cannot reorder them."""
AMI = {
    "karpenter": (r"bottlerocket@v\d+\.\d+\.\d+|al2023@v\d{8}", "bottlerocket@vX.Y.Z or al2023@vYYYYMMDD"),
    "managed": (
        r"bottlerocket@v\d+\.\d+\.\d+-[0-9a-f]{8}|al2023@v1\.\d+\.\d+-\d{8}",
        "bottlerocket@vX.Y.Z-COMMIT or al2023@v1.X.Y-YYYYMMDD, the release version of EKS",
    ),
}
Reservation = Annotated[str, Field(pattern=r"^cr-[0-9a-z]+$")]


class Budget(Part):
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


class Disruption(Part):
    """When a node may be taken away by Karpenter itself. Spot reclaims are not asked."""

    consolidation_policy: Literal["WhenEmpty", "WhenEmptyOrUnderutilized"] = "WhenEmpty"
    """WhenEmpty never moves a running pod: the default, as moving a training pod costs the work since its last checkpoint."""
    consolidate_after: Duration = "5m"
    expire_after: Duration = "336h"
    """Two weeks: nodes take up AMI fixes, and expiry (which ignores budgets) stays rare."""
    budgets: tuple[Budget, ...] = (Budget.model_construct(nodes="20%"),)


class Sharing(Part):
    """How several pods share one GPU. Time slices give no isolation of memory or faults; MIG gives both."""

    mode: Literal["none", "time-slicing", "mig"] = "none"
    replicas: int | None = Field(default=None, ge=2, le=48)
    """Time-slicing: pods a GPU."""
    profile: str | None = None
    """MIG: the profile every GPU is cut into, such as 1g.10gb."""

    @model_validator(mode="after")
    def _says_how(self) -> "Sharing":
        if (self.mode == "time-slicing") != (self.replicas is not None):
            raise refuse("sharing: replicas belongs to mode time-slicing, and only there; add or remove it")
        if (self.mode == "mig") != (self.profile is not None):
            raise refuse("sharing: profile belongs to mode mig, and only there; add or remove it")
        return self


class GpuPool(Part):
    """One pool of GPU nodes."""

    name: Label
    provisioner: Literal["karpenter", "managed"] = "karpenter"
    """`managed`: an EKS node group of one capacity type, grown by cluster-autoscaler; for teams that may not use Karpenter."""
    families: tuple[str, ...] = Field(min_length=1)
    """Instance families; the more, the rarer is a pool without spot capacity."""
    gpus_per_node: int = Field(default=1, ge=1)
    """Exactly so many: Karpenter packs onto the fewest nodes, so a pool of mixed sizes buys the biggest."""
    sizes: tuple[str, ...] = ()
    """Only these sizes; empty means every size with that many GPUs."""
    capacity: tuple[Capacity, ...] = ("spot", "on-demand")
    """What may be bought. Tried in the order reserved, spot, on-demand."""
    capacity_reservations: tuple[Reservation, ...] = ()
    """On-demand capacity reservations and capacity blocks, by id."""
    capacity_blocks: bool = False
    """Whether the reservations are capacity blocks: paid ahead, for a window; nodes are drained before its end."""
    zones: tuple[str, ...] = ()
    """Availability zones; empty means every zone of the network."""
    max_gpus: int = Field(ge=1)
    sharing: Sharing = Sharing()
    efa: bool = False
    """Elastic Fabric Adapter: for training over several nodes. Only types that have it."""
    ami: str
    """`bottlerocket@vX.Y.Z` or `al2023@vYYYYMMDD`; pinned, so that a new image is a change that is reviewed."""
    root_volume_gib: int = Field(default=100, ge=20, le=16384)
    scratch: bool = True
    """Join the instance's own NVMe disks into one volume for pods' ephemeral storage."""
    pre_pull: tuple[Image, ...] = ()
    """Images fetched as soon as a node is there, before a pod asks."""
    soci: bool = False
    """Pull images lazily or in parallel with the SOCI snapshotter."""
    deadline: bool = False
    """Whether jobs here must be done by a time: then on-demand must be among the capacity."""
    checkpoints: bool = True
    """Whether what runs here can go on from a checkpoint. Without, no disruption that can be avoided may be allowed."""
    labels: dict[str, str] = Field(default_factory=dict)
    disruption: Disruption = Disruption()

    @property
    def instance_types(self) -> tuple[str, ...]:
        return gpu_types.expand(self.families, gpus=self.gpus_per_node, sizes=self.sizes)

    @property
    def max_nodes(self) -> int:
        return self.max_gpus // self.gpus_per_node

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
        pattern, example = AMI[self.provisioner]
        if not re.fullmatch(pattern, self.ami):
            raise refuse(f"pool '{self.name}': ami: {self.ami!r} is no pinned image; write {example}")
        return self

    @model_validator(mode="after")
    def _the_provisioner_can(self) -> "GpuPool":
        if self.provisioner == "managed" and len(self.capacity) > 1:
            raise refuse(
                f"pool '{self.name}': capacity: a managed node group buys one kind; name one, or take provisioner karpenter"
            )
        if self.capacity_blocks and not self.capacity_reservations:
            raise refuse(f"pool '{self.name}': capacityBlocks: no reservation is named; list its id in capacityReservations")
        return self

    @model_validator(mode="after")
    def _the_machines_can(self) -> "GpuPool":
        machines = [gpu_types.machine(name) for name in self.instance_types]
        if self.efa and (lacking := [machine.name for machine in machines if not machine.efa]):
            raise refuse(f"pool '{self.name}': efa: {', '.join(lacking)} has none; drop the types or efa")
        profile = self.sharing.profile
        if profile and (lacking := [machine.name for machine in machines if profile not in machine.mig]):
            known = sorted({name for machine in machines for name in machine.mig}) or ["none of these machines has MIG"]
            raise refuse(f"pool '{self.name}': sharing.profile: {lacking[0]} has no {profile}; {meant(profile, known)}")
        if self.sharing.mode != "none" and self.efa:
            raise refuse(f"pool '{self.name}': sharing: a GPU that is shared cannot train over EFA; drop one of both")
        return self
