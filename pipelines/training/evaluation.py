"""Whether a model is good enough: against the baseline and the champion on the same held-out rows, overall and by slice.

The verdict is pure; what is served decides later, in canary.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.model import Guardrails, Model, encode
from pipelines.training import dataset

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """One guardrail: the number, its limit, and the sentence that goes into the evidence."""

    name: str
    passed: bool
    value: float
    limit: float
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """Losses are means of `Model.loss` over the held-out rows; `slices` maps `feature=value` to the loss of each contender."""

    rows: int
    losses: dict[str, float]
    metrics: dict[str, dict[str, float]]
    slices: dict[str, dict[str, float]]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


def score(onnx: bytes, x: "Floats") -> "Floats":
    """Predictions of an ONNX model (input `features`, output `prediction`), float32 [rows]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    answer: Floats = session.run(["prediction"], {"features": x})[0]
    return answer.reshape(-1)


def evaluate(model: Model, held_out: "pl.DataFrame", contenders: Mapping[str, bytes]) -> Evaluation:
    """Score `candidate`, `baseline` and, where there is one, `champion` on the held-out rows and judge by the guardrails."""
    import polars as pl

    x, y = encode(model.features, held_out), dataset.labels(model, held_out)
    predictions = {name: score(onnx, x) for name, onnx in contenders.items()}
    rowwise = {name: model.loss(y, prediction) for name, prediction in predictions.items()}
    frame = held_out.select(model.slices).with_columns(pl.Series(name, values) for name, values in rowwise.items())
    slices: dict[str, dict[str, float]] = {}
    for column in model.slices:
        grouped = frame.group_by(column).agg(pl.len(), *(pl.col(name).mean() for name in rowwise)).sort(column)
        for row in grouped.iter_rows(named=True):
            slices[f"{column}={row[column]}"] = {"rows": row["len"], **{name: row[name] for name in rowwise}}
    losses = {name: float(values.mean()) for name, values in rowwise.items()}
    return Evaluation(
        rows=held_out.height,
        losses=losses,
        metrics={name: model.metrics(y, prediction) for name, prediction in predictions.items()},
        slices=slices,
        checks=tuple(judge(losses, slices, model.guardrails)),
    )


def judge(losses: Mapping[str, float], slices: Mapping[str, Mapping[str, float]], rails: Guardrails) -> list[Check]:
    """The guardrails as checks. Without a champion, its two checks pass and say so. Pure."""
    gain = losses["baseline"] - losses["candidate"]
    checks = [
        Check(
            "beats_baseline",
            gain >= rails.min_gain_over_baseline,
            gain,
            rails.min_gain_over_baseline,
            f"loss {losses['candidate']:.4f}, baseline {losses['baseline']:.4f}: a gain of {gain:+.4f}",
        )
    ]
    if "champion" not in losses:
        reason = "no model is in production: nothing to compare with"
        return [*checks, *(Check(name, True, 0.0, 0.0, reason) for name in ("not_worse_than_champion", "no_slice_regression"))]
    over = losses["candidate"] - losses["champion"]
    checks.append(
        Check(
            "not_worse_than_champion",
            over <= rails.max_loss_over_champion,
            over,
            rails.max_loss_over_champion,
            f"loss {losses['candidate']:.4f}, champion {losses['champion']:.4f}: {over:+.4f}",
        )
    )
    large = {name: one for name, one in slices.items() if one["rows"] >= rails.min_slice_rows}
    name, worst = max(
        ((name, one["candidate"] - one["champion"]) for name, one in large.items()),
        # A slice without an answer is the worst of all; NaN compares with nothing.
        key=lambda pair: float("inf") if pair[1] != pair[1] else pair[1],  # noqa: PLR0124 - NaN is not equal to itself
        default=("none", 0.0),
    )
    limit = rails.max_slice_loss_over_champion
    checks.append(Check("no_slice_regression", worst <= limit, worst, limit, f"worst slice {name}: {worst:+.4f}"))
    return checks
