"""The model of this platform: will a flight from New York arrive late? A team replaces this folder by its own.

Everything the platform asks of it is `pipelines.model.Model`; the object is `MODEL`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.flight_delay import evaluate, features, fit, schema, sources
from pipelines.model import Feature, Guardrails, Trainer

if TYPE_CHECKING:
    import numpy as np
    import pandera.polars as pa
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class FlightDelay:
    """Probability that a flight arrives 15 minutes late or more, asked at its scheduled departure."""

    name = "flight-delay"
    features: tuple[Feature, ...] = schema.FEATURES
    slices: tuple[str, ...] = ("carrier", "origin")
    entity = "flight_id"
    event_time = "event_time"
    label = "label"
    label_time = "label_time"
    sources: tuple[str, ...] = sources.SOURCES
    partitions: tuple[str, ...] = tuple(f"2013-{month:02d}" for month in range(1, 13))
    min_partitions = 3
    guardrails: Guardrails = evaluate.GUARDRAILS
    params: Mapping[str, Any] = fit.PARAMS
    trainer: Trainer = fit.BoostedTrees()

    def deliver(self, partition: str) -> "Mapping[str, pl.DataFrame]":
        return sources.deliver(partition)

    def contract(self, source: str) -> "pa.DataFrameSchema":
        return schema.contract(source)

    def build_features(self, sources: "Mapping[str, pl.DataFrame]") -> "pl.DataFrame":
        return features.build_features(sources)

    def baseline(self, frame: "pl.DataFrame") -> bytes:
        return fit.baseline(frame, self.features)

    def loss(self, label: "Floats", prediction: "Floats") -> "Floats":
        return evaluate.loss(label, prediction)

    def metrics(self, label: "Floats", prediction: "Floats") -> dict[str, float]:
        return evaluate.metrics(label, prediction)


MODEL = FlightDelay()
