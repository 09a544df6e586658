"""Checkpoints: parts first, then one commit marker by conditional PUT that names every part. Readers trust only markers.

One work is one training; its epochs are the placements it ran in. Nothing here knows what the bytes are.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.objects import ObjectExists, ObjectMissing, Objects

LOG = logging.getLogger(__name__)


class Fenced(Exception):
    """A newer placement epoch has begun, or another writer committed other bytes: this writer must stop."""


@dataclass(frozen=True)
class Checkpoint:
    """A committed segment boundary."""

    segment: int
    state: bytes
    metrics: dict[str, float]
    epoch: int


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one work."""

    objects: Objects
    work: str

    @property
    def root(self) -> str:
        return f"checkpoints/{self.work}"

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        """Record what the work is; the first writer's stands."""
        try:
            self.objects.put_new(f"{self.root}/spec.json", json.dumps(spec, sort_keys=True).encode())
        except ObjectExists:
            return

    def spec(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.objects.get(f"{self.root}/spec.json"))
        return content

    def begin_epoch(self, epoch: int, about: Mapping[str, Any]) -> bool:
        """Claim a placement epoch. False when somebody else has it already."""
        try:
            self.objects.put_new(
                f"{self.root}/epochs/{epoch:04d}.json", json.dumps(about, sort_keys=True, default=str).encode()
            )
        except ObjectExists:
            return False
        return True

    def epoch(self, number: int) -> dict[str, Any]:
        """What its claimant said of a placement epoch."""
        about: dict[str, Any] = json.loads(self.objects.get(f"{self.root}/epochs/{number:04d}.json"))
        return about

    def newest_epoch(self) -> int | None:
        found = [
            int(stored.key.rsplit("/", 1)[1].removesuffix(".json")) for stored in self.objects.list(f"{self.root}/epochs/")
        ]
        return max(found, default=None)

    def commit(self, checkpoint: Checkpoint, *, seconds: float) -> None:
        """Make a segment's state durable. Raises Fenced when a newer epoch has begun or others committed other bytes."""
        newest = self.newest_epoch()
        if newest is not None and newest > checkpoint.epoch:
            raise Fenced(f"epoch {newest} has begun; epoch {checkpoint.epoch} commits nothing more")
        digest = hashlib.sha256(checkpoint.state).hexdigest()
        part = f"{self.root}/parts/{checkpoint.segment:04d}-{digest[:16]}"
        self.objects.put(part, checkpoint.state)
        marker = {
            "segment": checkpoint.segment,
            "epoch": checkpoint.epoch,
            "metrics": checkpoint.metrics,
            "seconds": seconds,
            "parts": {"state": {"key": part, "size": len(checkpoint.state), "sha256": digest}},
        }
        body = json.dumps(marker, sort_keys=True).encode()
        try:
            self.objects.put_new(self._marker(checkpoint.segment), body)
        except ObjectExists:
            standing = self._marker_of(self._marker(checkpoint.segment))
            if standing is None:
                # A marker that cannot be read commits nothing; this one takes its place.
                self.objects.put(self._marker(checkpoint.segment), body)
            elif standing["parts"]["state"]["sha256"] != digest:
                raise Fenced(f"segment {checkpoint.segment} was committed by another writer") from None

    def committed(self, after: int = -1) -> list[dict[str, Any]]:
        """The readable commit markers of the segments after `after`, oldest first; their parts are not looked at."""
        start = self._marker(after) if after >= 0 else ""
        keys = [stored.key for stored in self.objects.list(f"{self.root}/commits/", after=start)]
        return [marker for marker in map(self._marker_of, keys) if marker is not None]

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint. A torn or damaged one is logged and the one before is taken."""
        keys = [stored.key for stored in self.objects.list(f"{self.root}/commits/")]
        for key in reversed(keys):
            found, reason = self._read(key)
            if found is not None:
                return found
            LOG.warning("checkpoint %s is skipped: %s", key, reason)
        return None

    def _read(self, key: str) -> tuple[Checkpoint | None, str]:
        marker = self._marker_of(key)
        if marker is None:
            return None, "the marker cannot be read"
        stated = marker["parts"]["state"]
        try:
            state = self.objects.get(stated["key"])
        except ObjectMissing:
            return None, f"{stated['key']} is missing"
        if len(state) != stated["size"] or hashlib.sha256(state).hexdigest() != stated["sha256"]:
            return None, f"{stated['key']} is not what the marker says"
        return Checkpoint(marker["segment"], state, marker["metrics"], marker["epoch"]), ""

    def _marker_of(self, key: str) -> dict[str, Any] | None:
        try:
            marker: dict[str, Any] = json.loads(self.objects.get(key))
            stated = marker["parts"]["state"]
            whole = {"segment", "epoch", "metrics", "seconds"} <= marker.keys() and {"key", "size", "sha256"} <= stated.keys()
        except (ObjectMissing, ValueError, KeyError, TypeError):
            return None
        return marker if whole else None

    def _marker(self, segment: int) -> str:
        return f"{self.root}/commits/{segment:04d}.json"
