"""What a release is: one immutable record of code, model, data and configuration, with the evidence it was built on.

Its path through the stages is not here but in the ledger. Stored once, at `releases/<id>.json` in the ledger bucket.
"""

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.objects import ObjectExists, ObjectMissing, Objects
from stacks.errors import UserError


class Stage(StrEnum):
    """Where a release stands. `canary` carries its step (the weight in percent) in the ledger's evidence."""

    CANDIDATE = "candidate"
    STAGING = "staging"
    SHADOW = "shadow"
    CANARY = "canary"
    PRODUCTION = "production"
    RETIRED = "retired"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


TERMINAL = frozenset({Stage.RETIRED, Stage.REJECTED, Stage.ROLLED_BACK})
CANARY_STEPS = (5, 25, 50)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Part):
    git_sha: str
    """Commit, with `-dirty` appended when the tree had changes; `unknown` outside a checkout."""
    image: str
    """Digest `sha256:…` of the serving image: locally an environment archive, in a cluster a container image."""


class ModelVersion(_Part):
    name: str
    version: str
    """Version in the MLflow registry."""
    digest: str
    """SHA-256 (hex) of the package's `model.onnx`."""
    package: str
    """Prefix in the artifacts bucket that holds model.onnx, signature.json, card.md, example.json."""
    run_id: str
    """MLflow run that trained it."""


class Data(_Part):
    training_set: str
    """Key of the training-set record in the artifacts bucket."""
    tables: dict[str, int]
    """Delta table name to version."""
    partitions: tuple[str, ...]
    feature_view: str


class ServingConfig(_Part):
    replicas: int = 1
    threads: int = 1
    timeout_ms: int = 2000
    slo_ms: int = 100
    """A slower answer counts against the release."""
    log_flush_s: float = 0.5
    """Longest time a prediction stays unlogged: what a killed server can lose at most."""


class Release(_Part):
    """One release. `id` is `r<number>-<8 hex digits of the content digest>`."""

    id: str
    created_at: datetime
    created_by: str
    reason: str
    code: Code
    model: ModelVersion
    data: Data
    serving: ServingConfig = ServingConfig()
    infra: str
    """StackOutputs digest: evidence and compatibility check, never rolled back."""
    evidence: dict[str, Any]

    @property
    def number(self) -> int:
        return int(self.id[1:].split("-")[0])


def release_id(number: int, content: dict[str, Any]) -> str:
    """The id for the `number`-th release with this content (everything but the id)."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return f"r{number:04d}-{digest[:8]}"


def key_of(identity: str) -> str:
    return f"releases/{identity}.json"


def save(objects: Objects, release: Release) -> None:
    """Write the record once. Writing the same record again is harmless; another under the same id raises UserError."""
    body = release.model_dump_json(indent=2).encode()
    try:
        objects.put_new(key_of(release.id), body)
    except ObjectExists:
        if objects.get(key_of(release.id)) != body:
            raise UserError(
                f"release {release.id} exists with other content", "A release is immutable; make a new one."
            ) from None


def load(objects: Objects, identity: str) -> Release:
    """Read a record. Raises UserError when there is none, or it is damaged."""
    try:
        return Release.model_validate_json(objects.get(key_of(identity)))
    except ObjectMissing as error:
        raise UserError(f"there is no release {identity!r}", "See `spotforge release list`.") from error
    except ValidationError as error:
        raise UserError(f"the record of release {identity} is damaged", "Run `spotforge release verify`.") from error
