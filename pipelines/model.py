"""The model interface: all the platform knows of what it trains and serves. A team's model implements it in one package.

Nothing here names a domain. The package's `model.py` holds one object `MODEL` that satisfies `Model`.
"""

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from stacks.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandera.polars as pa
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One model input. Numeric values outside [low, high] and categories outside `categories` are data-quality findings."""

    name: str
    kind: Literal["numeric", "categorical"] = "numeric"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    """The vocabulary, in code order. An unseen category is encoded as missing (NaN)."""
    nullable: bool = False
    """Whether a missing value is normal; if not, it is a data-quality finding."""


@dataclass(frozen=True, kw_only=True)
class Guardrails:
    """What an offline evaluation must show. Losses are means of `Model.loss`, in [0, 1]."""

    min_gain_over_baseline: float
    """Baseline loss minus candidate loss must be at least this."""
    max_loss_over_champion: float
    """Candidate loss minus champion loss may be at most this, on the same rows."""
    max_slice_loss_over_champion: float
    """The same, in the worst slice that has at least `min_slice_rows` rows."""
    min_slice_rows: int
    canary_margin: float
    """A candidate worse than this on live labels must not be promoted: mean paired loss difference."""


@dataclass(frozen=True)
class TrainingData:
    """Design matrices: x float32 [rows, features] in the order of `Model.features`, y float32 [rows]."""

    x: "Floats"
    y: "Floats"
    x_valid: "Floats"
    y_valid: "Floats"


class Trainer(Protocol):
    """Training cut into fixed segments, so that a resumed run equals an uninterrupted one.

    `fit_segment` must depend on nothing but its arguments: state is the bytes that the segment before returned (None for the
    first), `seed` is derived from the run's seed and the segment's number.
    """

    segments: int

    def fit_segment(
        self, state: bytes | None, data: TrainingData, *, segment: int, seed: int, params: Mapping[str, Any]
    ) -> tuple[bytes, dict[str, float]]:
        """One segment: returns the new state and metrics to report."""
        ...

    def to_onnx(self, state: bytes, features: Sequence[Feature]) -> bytes:
        """An ONNX model: input `features` float32 [n, features], output `prediction` float32 [n]."""
        ...


class Model(Protocol):
    """What a team writes to bring its own model."""

    name: str
    features: tuple[Feature, ...]
    slices: tuple[str, ...]
    """Feature names whose values cut the evaluation into slices."""
    entity: str
    """Column with the request id, unique a row."""
    event_time: str
    """Column with the moment a prediction is asked for (UTC); no feature may use anything later."""
    label: str
    """Column with the outcome as float; null while unknown."""
    label_time: str
    """Column with the moment the outcome is known (UTC)."""
    sources: tuple[str, ...]
    """Landed tables; the first is the fact table, of which a partition is delivered at a time."""
    partitions: tuple[str, ...]
    """All months that can arrive, as `YYYY-MM`, in order."""
    min_partitions: int
    """How many months of features the first training waits for."""
    guardrails: Guardrails
    params: Mapping[str, Any]
    """Training parameters that are recorded with the run."""
    trainer: Trainer

    def deliver(self, partition: str) -> "Mapping[str, pl.DataFrame]":
        """What the outside world delivers for a month, a frame a source: the demo's and the tests' data."""
        ...

    def contract(self, source: str) -> "pa.DataFrameSchema":
        """The data contract that a delivery of `source` is checked against, row by row (lazy)."""
        ...

    def build_features(self, sources: "Mapping[str, pl.DataFrame]") -> "pl.DataFrame":
        """Point-in-time features: entity, event_time, label, label_time, then every feature, a row a request.

        Categorical features hold strings, numeric ones float64. Pure; the same function serves training and live traffic.
        """
        ...

    def baseline(self, frame: "pl.DataFrame") -> bytes:
        """ONNX (as `Trainer.to_onnx`) of the simplest defensible predictor fitted on a feature frame."""
        ...

    def loss(self, label: "Floats", prediction: "Floats") -> "Floats":
        """Loss a row, bounded in [0, 1]: what canary and monitoring compare."""
        ...

    def metrics(self, label: "Floats", prediction: "Floats") -> dict[str, float]:
        """Summary metrics for people."""
        ...


def load_model(package: str) -> Model:
    """The `MODEL` object of `package` (import path). Raises UserError where there is none."""
    try:
        module = importlib.import_module(f"{package}.model")
    except ModuleNotFoundError as error:
        raise UserError(
            f"model package {package!r} cannot be imported ({error})", "See docs/bring-your-own-model.md."
        ) from error
    model: Model | None = getattr(module, "MODEL", None)
    if model is None:
        raise UserError(f"{package}.model has no object named MODEL", "See docs/bring-your-own-model.md.")
    missing = sorted(name for name in _interface() if not hasattr(model, name))
    if missing:
        raise UserError(f"{package}.model.MODEL lacks {', '.join(missing)}", "See docs/bring-your-own-model.md.")
    return model


def _interface() -> set[str]:
    return {*Model.__annotations__, *(name for name in vars(Model) if not name.startswith("_"))}


def encode(features: Sequence[Feature], frame: "pl.DataFrame") -> "Floats":
    """A feature frame as the model sees it: float32 [rows, features]; categories become codes, unseen and null become NaN."""
    import numpy as np
    import polars as pl

    columns = []
    for feature in features:
        column = pl.col(feature.name)
        if feature.kind == "categorical":
            codes = {name: float(code) for code, name in enumerate(feature.categories)}
            column = column.replace_strict(codes, default=None, return_dtype=pl.Float64)
        columns.append(column.cast(pl.Float32).fill_null(float("nan")))
    matrix = frame.select(columns).to_numpy()
    return np.ascontiguousarray(matrix, dtype=np.float32)


def view_version(model: Model) -> str:
    """Version of the feature view: 12 hex digits of the digest over names, kinds, bounds and vocabularies."""
    content = json.dumps([asdict(feature) for feature in model.features], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]
