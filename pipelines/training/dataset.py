"""The training set: which rows of which table version, how they are split, and the matrices made of them.

Recorded before training, so that a model can always say what it learned from.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipelines.model import Model, TrainingData, encode, view_version
from pipelines.objects import Objects
from pipelines.tables import Tables
from stacks.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

Split = Literal["days", "random"]
FEATURES = "features"
PARTITION = "_partition"
HOLDOUT_EVERY = 4
"""Every fourth day is held out, the same days for every training: so a champion never learned from the rows that it and its
challenger are compared on, and the newest month is in both parts."""


@dataclass(frozen=True)
class TrainingSet:
    """One recorded training set; `id` is derived from the rest, so the same choice is the same set."""

    id: str
    model: str
    partitions: tuple[str, ...]
    split: Split
    rows: int
    held_out: int
    tables: dict[str, int]
    feature_view: str

    @property
    def key(self) -> str:
        return f"training-sets/{self.id}.json"


def choose(model: Model, tables: Tables, partitions: Sequence[str], split: Split) -> TrainingSet:
    """Fix a training set over `partitions` (empty: all that have features) at today's versions.

    Raises UserError when a month has no features.
    """

    version = tables.version(FEATURES)
    if version is None:
        raise UserError("there are no features yet", "Deliver a month first.")
    there = available(tables)
    chosen = tuple(partitions) or tuple(there)
    missing = [partition for partition in chosen if partition not in there]
    if missing:
        raise UserError(f"no features of {', '.join(missing)}", f"Choose among {', '.join(there)}.")
    frame = _labelled(model, tables, version, chosen).select(model.entity, model.event_time)
    held_out = int(frame.filter(_held_out(model, split)).height)
    sources = {f"silver/{source}": tables.version(f"silver/{source}") for source in model.sources}
    content: dict[str, Any] = {
        "model": model.name,
        "partitions": chosen,
        "split": split,
        "rows": frame.height,
        "held_out": held_out,
        "tables": {FEATURES: version} | {name: number for name, number in sources.items() if number is not None},
        "feature_view": view_version(model),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return TrainingSet(id=digest, **content)


def save(objects: Objects, chosen: TrainingSet) -> None:
    objects.put(chosen.key, json.dumps(asdict(chosen), indent=1).encode())


def load(objects: Objects, identity: str) -> TrainingSet:
    content = json.loads(objects.get(f"training-sets/{identity}.json"))
    return TrainingSet(**{**content, "partitions": tuple(content["partitions"])})


def available(tables: Tables) -> list[str]:
    """The months that have features, in order."""
    import polars as pl

    frame = tables.scan(FEATURES)
    return [] if frame is None else sorted(frame.select(pl.col(PARTITION).unique()).collect()[PARTITION].to_list())


def parts(model: Model, tables: Tables, chosen: TrainingSet) -> "tuple[pl.DataFrame, pl.DataFrame]":
    """The rows to learn from and those held out, in event order, at the recorded version."""
    frame = _labelled(model, tables, chosen.tables[FEATURES], chosen.partitions)
    held_out = _held_out(model, chosen.split)
    return frame.filter(~held_out), frame.filter(held_out)


def matrices(model: Model, tables: Tables, chosen: TrainingSet) -> TrainingData:
    """The design matrices of a training set."""
    train, valid = parts(model, tables, chosen)
    return TrainingData(
        encode(model.features, train), labels(model, train), encode(model.features, valid), labels(model, valid)
    )


def labels(model: Model, frame: "pl.DataFrame") -> "NDArray[np.float32]":
    import numpy as np

    return frame[model.label].to_numpy().astype(np.float32)


def _labelled(model: Model, tables: Tables, version: int, partitions: Sequence[str]) -> "pl.DataFrame":
    import polars as pl

    frame = tables.scan(FEATURES, version)
    if frame is None:
        raise UserError("the features table is gone", "Deliver the months again.")
    rows = frame.filter(pl.col(PARTITION).is_in(list(partitions)) & pl.col(model.label).is_not_null())
    return rows.sort(model.event_time, model.entity).collect()


def _held_out(model: Model, split: Split) -> "pl.Expr":
    import polars as pl

    if split == "days":
        return pl.col(model.event_time).dt.epoch("d") % HOLDOUT_EVERY == HOLDOUT_EVERY - 1
    # Rows of one day resemble each other, so this split flatters; it is there because people ask for it.
    return pl.int_range(pl.len()).shuffle(seed=0) % HOLDOUT_EVERY == 0
