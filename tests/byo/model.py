"""A second model, as small as one can be: will a batch job fail? Everything that a team writes to bring its own stands here.

The data is made up and always the same; `test_loop.py` runs it through the whole loop.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.model import Feature, Guardrails, TrainingData

if TYPE_CHECKING:
    import numpy as np
    import pandera.polars as pa
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

KINDS = ("etl", "report", "train")
JOBS_A_MONTH = 4000
FEATURES = (
    Feature(name="load", unit="share of the machine", low=0, high=1),
    Feature(name="age", unit="a", low=0, high=10),
    Feature(name="kind", kind="categorical", categories=KINDS),
)
SCALE = (1.0, 10.0, float(len(KINDS) - 1))
"""The largest value of each input, codes included: the regression sees [0, 1]."""
ONNX_IR, OPSET = 8, 15


class Logistic:
    """Logistic regression by gradient descent, fifty steps a segment. The state is the weights, as numpy writes them."""

    segments = 3

    def fit_segment(
        self, state: bytes | None, data: TrainingData, *, segment: int, seed: int, params: Mapping[str, Any]
    ) -> tuple[bytes, dict[str, float]]:
        import numpy as np

        weights = np.load(io.BytesIO(state)) if state else np.zeros(len(FEATURES) + 1)
        x = np.hstack([np.nan_to_num(data.x, nan=0.0) / SCALE, np.ones((len(data.x), 1))])
        for _ in range(50):
            gradient = x.T @ (_sigmoid(x @ weights) - data.y) / len(x)
            weights = weights - float(params["learning_rate"]) * gradient
        body = io.BytesIO()
        np.save(body, weights)
        return body.getvalue(), {"largest_gradient": float(np.abs(gradient).max())}

    def to_onnx(self, state: bytes, features: Sequence[Feature]) -> bytes:
        import numpy as np
        from onnx import helper, numpy_helper

        weights = np.load(io.BytesIO(state)).astype(np.float32)
        constants: dict[str, Any] = {
            "zero": np.zeros(1, np.float32),
            "scale": np.array(SCALE, np.float32),
            "flat": np.array([-1]),
        }
        constants |= {"weights": weights[:-1, None], "bias": weights[-1:]}
        nodes = [
            helper.make_node("IsNaN", ["features"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "features"], ["present"]),
            helper.make_node("Div", ["present", "scale"], ["scaled"]),
            helper.make_node("Gemm", ["scaled", "weights", "bias"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["column"]),
            helper.make_node("Reshape", ["column", "flat"], ["prediction"]),
        ]
        return _graph(nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()])


class JobFailure:
    """Probability that a batch job fails, asked when it starts."""

    name = "job-failure"
    features = FEATURES
    slices = ("kind",)
    entity, event_time, label, label_time = "job_id", "started", "failed", "ended"
    sources = ("jobs", "machines")
    partitions = tuple(f"2024-{month:02d}" for month in range(1, 7))
    min_partitions = 2
    guardrails = Guardrails(
        min_gain_over_baseline=0.01,
        max_loss_over_champion=0.005,
        max_slice_loss_over_champion=0.05,
        min_slice_rows=200,
        canary_margin=0.02,
    )
    params: Mapping[str, Any] = {"learning_rate": 4.0}
    trainer = Logistic()

    def deliver(self, partition: str) -> "Mapping[str, pl.DataFrame]":
        import numpy as np
        import polars as pl

        month = int(partition[-2:])
        rng = np.random.default_rng(month)
        start = datetime(2024, month, 1, tzinfo=UTC)
        load, machine, kind = rng.random(JOBS_A_MONTH), rng.integers(0, 20, JOBS_A_MONTH), rng.integers(0, 3, JOBS_A_MONTH)
        chance = _sigmoid(6 * load + machine / 10 + kind - 6)
        started = [start + timedelta(minutes=10 * number) for number in range(JOBS_A_MONTH)]
        jobs = pl.DataFrame(
            {
                "job_id": [f"{partition}-{number:05d}" for number in range(JOBS_A_MONTH)],
                "started": started,
                "ended": [moment + timedelta(hours=1) for moment in started],
                "machine": [f"m{number:02d}" for number in machine],
                "kind": [KINDS[code] for code in kind],
                "load": load,
                "failed": (rng.random(JOBS_A_MONTH) < chance).astype(float),
            }
        )
        machines = pl.DataFrame({"machine": [f"m{number:02d}" for number in range(20)], "age": [n / 2 for n in range(20)]})
        return {"jobs": jobs, "machines": machines}

    def contract(self, source: str) -> "pa.DataFrameSchema":
        import pandera.polars as pa
        import polars as pl

        if source == "machines":
            return pa.DataFrameSchema({"machine": pa.Column(pl.String), "age": pa.Column(pl.Float64, pa.Check.in_range(0, 10))})
        return pa.DataFrameSchema(
            {
                "job_id": pa.Column(pl.String),
                "started": pa.Column(pl.Datetime("us", "UTC")),
                "machine": pa.Column(pl.String),
                "kind": pa.Column(pl.String, pa.Check.isin(list(KINDS))),
                "load": pa.Column(pl.Float64, pa.Check.in_range(0, 1)),
            }
        )

    def build_features(self, sources: "Mapping[str, pl.DataFrame]") -> "pl.DataFrame":
        machines = sources["machines"].unique(subset="machine", keep="last", maintain_order=True)
        rows = sources["jobs"].join(machines, on="machine", how="left", maintain_order="left")
        return rows.select("job_id", "started", "failed", "ended", *(feature.name for feature in FEATURES)).sort("started")

    def baseline(self, frame: "pl.DataFrame") -> bytes:
        import numpy as np
        from onnx import helper, numpy_helper

        rate = numpy_helper.from_array(np.array([frame["failed"].to_numpy().mean()], np.float32), "rate")
        nodes = [
            helper.make_node("Shape", ["features"], ["rows"], start=0, end=1),
            helper.make_node("ConstantOfShape", ["rows"], ["prediction"], value=rate),
        ]
        return _graph(nodes, [])

    def loss(self, label: "Floats", prediction: "Floats") -> "Floats":
        squared: Floats = (prediction - label) ** 2
        return squared

    def metrics(self, label: "Floats", prediction: "Floats") -> dict[str, float]:
        return {"brier": float(((prediction - label) ** 2).mean()), "base_rate": float(label.mean())}


def _sigmoid(values: Any) -> Any:
    import numpy as np

    return 1 / (1 + np.exp(-values))


def _graph(nodes: list[Any], constants: list[Any]) -> bytes:
    """Input `features` float32 [n, features], output `prediction` float32 [n]."""
    import onnx
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(FEATURES)])]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None])]
    graph = helper.make_graph(nodes, "job_failure", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=ONNX_IR)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


MODEL = JobFailure()
