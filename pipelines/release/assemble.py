"""Makes a release of what training left behind: one record, one number, one candidate in the ledger. Idempotent.

What becomes of the candidate is the controller's business.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.objects import ObjectExists, Objects
from pipelines.release import record
from pipelines.release.chain import IllegalTransition
from pipelines.release.ledger import Ledger
from pipelines.release.record import Code, Data, ModelVersion, Release, ServingConfig, Stage
from stacks.outputs import StackOutputs

NUMBERS = "release-numbers/"
"""One object a number, written once: it holds the digest of the release that took it."""
GIT_S = 5.0


def create(
    outputs: StackOutputs,
    *,
    code: Code,
    model: ModelVersion,
    data: Data,
    evidence: Mapping[str, Any],
    who: str,
    reason: str,
    serving: ServingConfig | None = None,
) -> Release:
    """The release of this content, stored and in the ledger as a candidate. The same content is the same release, however often
    it is asked for and wherever the last attempt was killed; `who` and `reason` are those of the first."""
    ledger = Ledger.of(outputs)
    content: dict[str, Any] = {
        "code": code.model_dump(),
        "model": model.model_dump(),
        "data": data.model_dump(),
        "serving": (serving or ServingConfig()).model_dump(),
        "infra": outputs.digest(),
        # As JSON has it, so that what is read back is what was digested.
        "evidence": json.loads(json.dumps(evidence, sort_keys=True, default=str)),
    }
    identity = record.release_id(_number(ledger.objects, content), content)
    release = _stored(ledger.objects, identity, content, who, reason)
    if ledger.state(release.id) is None:
        try:
            ledger.append(release.id, Stage.CANDIDATE, from_=None, who=who, why=reason, evidence=_summary(release))
        except IllegalTransition:
            if ledger.state(release.id) is None:
                raise  # else another run of the same step was first
    return release


def from_training(
    outputs: StackOutputs,
    *,
    training_set: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    model_package: Mapping[str, Any],
    registered_model: Mapping[str, Any],
    who: str,
) -> Release:
    """A release of the training room's records, as its assets hand them on."""
    return create(
        outputs,
        code=Code(git_sha=git_sha(), image=model_package["image"]),
        model=ModelVersion(
            name=registered_model["name"],
            version=str(registered_model["version"]),
            digest=model_package["digest"],
            package=model_package["prefix"],
            run_id=registered_model["run_id"],
        ),
        data=Data(
            training_set=f"training-sets/{training_set['id']}.json",
            tables=dict(training_set["tables"]),
            partitions=tuple(training_set["partitions"]),
            feature_view=training_set["feature_view"],
        ),
        evidence={
            "kind": training_set.get("kind"),
            "decision": training_set.get("decision"),
            "evaluation": {key: evaluation.get(key) for key in ("losses", "metrics", "checks", "rows", "champion", "passed")},
        },
        who=who,
        reason=training_set.get("reason") or "no reason given",
    )


def git_sha() -> str:
    """The checkout's commit, `-dirty` when tracked files differ from it; `unknown` outside a checkout."""
    here = Path(__file__).parent
    try:
        sha = _git(here, "rev-parse", "HEAD")
        return f"{sha}-dirty" if _git(here, "status", "--porcelain", "--untracked-files=no") else sha
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the person uses
        capture_output=True,
        text=True,
        timeout=GIT_S,
        check=True,
    )
    return done.stdout.strip()


def _number(objects: Objects, content: Mapping[str, Any]) -> int:
    """The content's own number: the one it took before, or the next free one, taken by conditional PUT."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    number = 0
    for stored in objects.list(NUMBERS):
        number = int(stored.key.removeprefix(NUMBERS))
        if objects.get(stored.key).decode() == digest:
            return number
    while True:
        number += 1
        try:
            objects.put_new(f"{NUMBERS}{number:04d}", digest.encode())
        except ObjectExists:
            if objects.get(f"{NUMBERS}{number:04d}").decode() != digest:
                continue
        return number


def _stored(objects: Objects, identity: str, content: Mapping[str, Any], who: str, reason: str) -> Release:
    release = Release(id=identity, created_at=datetime.now(UTC), created_by=who, reason=reason, **content)
    try:
        objects.put_new(record.key_of(identity), release.model_dump_json(indent=2).encode())
    except ObjectExists:
        return record.load(objects, identity)
    return release


def _summary(release: Release) -> dict[str, Any]:
    """What a reader of the ledger wants to know of a candidate without opening its record."""
    found = release.evidence.get("evaluation") or {}
    return {
        "model": f"{release.model.name} {release.model.version}",
        "partitions": list(release.data.partitions),
        "losses": found.get("losses"),
    }
