"""What a stack hands back: the one contract between infrastructure and everything that runs on it.

Written whole by `infra` or by the local stack, read tolerantly by all else. Never a secret: only where a secret lies.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from stacks.errors import UserError

ENV = "SPOTFORGE_OUTPUTS"
"""Names the JSON file that carries the outputs on a laptop, and the mounted ConfigMap key in a cluster."""


class _Part(BaseModel):
    # Tolerant reader: a newer writer may add keys. Strict writer: a field without a value cannot be constructed.
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Buckets(_Part):
    artifacts: str
    data: str
    ledger: str
    logs: str


class ObjectStore(_Part):
    region: str
    buckets: Buckets
    endpoint: str | None = None
    """URL of an S3-compatible store; None means AWS itself."""
    credentials_file: Path | None = None
    """AWS shared-credentials file (profile `default`, mode 0600); None means the ambient identity."""


class Tracking(_Part):
    uri: str


class Orchestration(_Part):
    url: str


class Gateway(_Part):
    url: str
    """Where callers send predictions."""
    admin_url: str
    """Loopback or cluster-internal: statistics and configuration dump."""


class StackOutputs(_Part):
    """Everything a workload may know about the environment it runs in."""

    stack: str
    platform: Literal["local", "kubernetes"]
    model: str = "pipelines.flight_delay"
    """Import path of the model package that this stack trains, releases and serves."""
    object_store: ObjectStore
    tracking: Tracking
    orchestration: Orchestration
    gateway: Gateway
    state_dir: Path | None = None
    """Local stack only: the folder that holds its processes' state."""

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON, as a release records it."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, indent=2)

    @classmethod
    def load(cls, path: Path | None = None) -> "StackOutputs":
        """Read the outputs from `path`, or from the file that $SPOTFORGE_OUTPUTS names.

        Raises UserError when there is no such file or when it is not whole.
        """
        chosen = path or (Path(os.environ[ENV]) if os.environ.get(ENV) else None)
        if chosen is None:
            raise UserError(f"{ENV} is not set, so no stack is known", "Run `spotforge up`, or set it to an outputs file.")
        try:
            return cls.model_validate_json(chosen.read_text())
        except FileNotFoundError as error:
            raise UserError(f"{chosen}: no such outputs file", "Run `spotforge up`, or correct the path.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{chosen}: cannot be read ({error})", "Write it anew with `spotforge up`.") from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "the file"
            raise UserError(f"{chosen}: {key}: {first['msg']}", "Write it anew with `spotforge up`.") from error
