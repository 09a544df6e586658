"""StackConfig: what people write of an environment, in `stacks/Pulumi.<stack>.yaml`. Refused whole, never half-read.

No secret enters it, only references. What an environment hands back is `stacks.outputs`.
"""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stacks import offers
from stacks.environment import Access, Alerts, Buckets, Cluster, Database, Images, Ledger, Network, Quotas
from stacks.errors import UserError
from stacks.part import Part
from stacks.pools import GpuPool
from stacks.refusal import as_user_error, meant, refuse, sentence

KEY = "spotforge:environment"
"""The one configuration key: a single object is read, or refused, as a whole."""
FOLDER = Path(__file__).resolve().parent
JSON_SCHEMA = FOLDER / "schema.json"


class StackConfig(Part):
    """One environment."""

    account: str = Field(pattern=r"^\d{12}$")
    """AWS account id, quoted. The provider refuses to touch any other account."""
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    tags: dict[str, str] = Field(default_factory=dict)
    """Added to every resource that takes tags."""
    protect: bool = True
    """Whether Pulumi refuses to delete what holds data: buckets, database, keys, tables."""
    network: Network
    cluster: Cluster
    database: Database = Database()
    buckets: Buckets = Buckets()
    ledger: Ledger
    access: Access
    alerts: Alerts
    trail: bool = True
    """Whether this environment keeps the account's CloudTrail; one environment an account does."""
    images: Images = Images()
    quotas: Quotas = Quotas()
    gpu_pools: tuple[GpuPool, ...] = ()

    @model_validator(mode="after")
    def _zones_are_the_regions(self) -> "StackConfig":
        for zone in self.network.zones:
            if not zone.startswith(self.region):
                raise refuse(f"network.zones: {zone!r} is not in {self.region}; correct one of them")
        if not offers.region_known(self.region):
            raise refuse(
                f"region: the table of offers has no {self.region}; run `spotforge cost refresh --region {self.region}`"
            )
        return self

    @model_validator(mode="after")
    def _pools_fit(self) -> "StackConfig":
        names = [pool.name for pool in self.gpu_pools]
        for pool in self.gpu_pools:
            if names.count(pool.name) > 1:
                raise refuse(f"gpuPools: two pools are named '{pool.name}'; rename one")
            for zone in pool.zones:
                if zone not in self.network.zones:
                    raise refuse(
                        f"gpuPools: pool '{pool.name}': zones: {zone!r} is not among the network's;"
                        f" {meant(zone, self.network.zones)}"
                    )
            if problem := offers.problem(self.region, pool.zones or self.network.zones, pool.instance_types):
                raise refuse(f"gpuPools: pool '{pool.name}': {problem}")
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
