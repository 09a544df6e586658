"""The landing zone: where the outside world delivers a month, and how a delivery is found and read whole.

A delivery is its files and, last of all, a marker that names them; without the marker it does not exist.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.objects import ObjectExists, ObjectMissing, Objects
from stacks.errors import UserError

if TYPE_CHECKING:
    import polars as pl

ROOT = "landing"
MARKER = "_DELIVERED.json"


@dataclass(frozen=True, order=True)
class Delivery:
    """The `number`-th delivery of a month, from 1; a later one corrects the ones before."""

    partition: str
    number: int

    @property
    def prefix(self) -> str:
        return f"{ROOT}/{self.partition}/{self.number:04d}"

    @property
    def marker(self) -> str:
        return f"{self.prefix}/{MARKER}"


def deliver(objects: Objects, partition: str, frames: "Mapping[str, pl.DataFrame]") -> Delivery:
    """Write a month's frames and then its marker, as the next delivery. An interrupted call leaves nothing visible.

    Nothing is ever overwritten: of two senders at once each gets a number of its own, and a second try after a kill goes on
    with what is there, or takes the next number.
    """
    taken = [delivery.number for delivery in deliveries(objects, partition)]
    number = max(taken, default=0) + 1
    while True:
        delivery = Delivery(partition, number)
        sources = {}
        for name, frame in frames.items():
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            body = buffer.getvalue()
            if not _placed(objects, f"{delivery.prefix}/{name}.parquet", body):
                break
            sources[name] = {"rows": frame.height, "sha256": hashlib.sha256(body).hexdigest()}
        if len(sources) < len(frames):
            number += 1
            continue
        try:
            objects.put_new(delivery.marker, json.dumps({"sources": sources}).encode())
        except ObjectExists:
            number += 1
        else:
            return delivery


def _placed(objects: Objects, key: str, body: bytes) -> bool:
    """Whether `key` now holds `body`; False when it holds something else."""
    try:
        objects.put_new(key, body)
    except ObjectExists:
        return objects.get(key) == body
    return True


def deliveries(objects: Objects, partition: str | None = None) -> list[Delivery]:
    """Every whole delivery (of one month), oldest first."""
    prefix = f"{ROOT}/{partition}/" if partition else f"{ROOT}/"
    found = []
    for stored in objects.list(prefix):
        parts = stored.key.split("/")
        if parts[-1] == MARKER:
            found.append(Delivery(parts[1], int(parts[2])))
    return sorted(found)


def read(objects: Objects, delivery: Delivery) -> "dict[str, pl.DataFrame]":
    """The frames of a delivery. Raises UserError when it is missing or a file is not what the marker says."""
    import polars as pl

    try:
        marker = json.loads(objects.get(delivery.marker))
        frames = {}
        for name, stated in marker["sources"].items():
            key = f"{delivery.prefix}/{name}.parquet"
            body = objects.get(key)
            if hashlib.sha256(body).hexdigest() != stated["sha256"]:
                raise UserError(f"{key} is not what its marker says", "Ask the sender to deliver the month again.")
            frames[name] = pl.read_parquet(io.BytesIO(body))
    except ObjectMissing as error:
        raise UserError(
            f"delivery {delivery.prefix} is not whole ({error} is missing)", "Ask the sender to deliver again."
        ) from error
    return frames
