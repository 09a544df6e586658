"""How the model learns: XGBoost in fixed segments, and the baseline it must beat; both leave as ONNX.

What it learns from is `features`; when it is trained, and where, is the training room's.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.model import Feature, TrainingData

if TYPE_CHECKING:
    import polars as pl

PARAMS: dict[str, Any] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": 6,
    "learning_rate": 0.06,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "min_child_weight": 20,
    "nthread": 2,
    "rounds_per_segment": 15,
}
OPSET = 15


class BoostedTrees:
    """Gradient-boosted trees, a segment at a time. The state between segments is the booster's own UBJSON bytes."""

    segments = 8

    def fit_segment(
        self, state: bytes | None, data: TrainingData, *, segment: int, seed: int, params: Mapping[str, Any]
    ) -> tuple[bytes, dict[str, float]]:
        """Grow `rounds_per_segment` trees on top of `state`. Always from bytes, so that a resumed run is byte-equal."""
        import xgboost

        chosen = {**params, "seed": seed + segment, "device": _device(), "verbosity": 0}
        rounds = int(chosen.pop("rounds_per_segment"))
        train = xgboost.QuantileDMatrix(data.x, data.y)
        valid = xgboost.QuantileDMatrix(data.x_valid, data.y_valid, ref=train)
        before = xgboost.Booster(model_file=bytearray(state)) if state else None
        history: dict[str, dict[str, list[float]]] = {}
        booster = xgboost.train(
            {**chosen, "eval_metric": ["logloss", "auc"]},
            train,
            num_boost_round=rounds,
            xgb_model=before,
            evals=[(valid, "valid")],
            evals_result=history,
            verbose_eval=False,
        )
        return bytes(booster.save_raw("ubj")), {f"valid_{name}": values[-1] for name, values in history["valid"].items()}

    def to_onnx(self, state: bytes, features: Sequence[Feature]) -> bytes:
        """Input `features` float32 [n, F]; output `prediction` float32 [n], the probability of being late."""
        import onnx
        import xgboost
        from onnxmltools.convert import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType

        booster = xgboost.Booster(model_file=bytearray(state))
        converted = convert_xgboost(
            booster, initial_types=[("features", FloatTensorType([None, len(features)]))], target_opset=OPSET
        )
        # The converter's graph has tree operators only; picking the second column needs the standard domain, too.
        converted.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        graph = converted.graph
        probabilities = next(out.name for out in graph.output if out.type.HasField("tensor_type") and "prob" in out.name)
        del graph.output[:]
        graph.initializer.append(onnx.helper.make_tensor("late", onnx.TensorProto.INT64, [], [1]))
        graph.node.append(onnx.helper.make_node("Gather", [probabilities, "late"], ["prediction"], axis=1))
        graph.output.append(onnx.helper.make_tensor_value_info("prediction", onnx.TensorProto.FLOAT, [None]))
        onnx.checker.check_model(converted)
        return bytes(converted.SerializeToString())


def baseline(frame: "pl.DataFrame", features: Sequence[Feature]) -> bytes:
    """The late share of each scheduled hour, as a lookup: what a dispatcher would say without a model."""
    import onnx
    import polars as pl
    from onnx import TensorProto, helper

    known = frame.filter(pl.col("label").is_not_null())
    overall = float(known["label"].mean() or 0.0)  # type: ignore[arg-type]
    by_hour = dict(known.group_by(pl.col("hour").floor().cast(pl.Int64)).agg(pl.col("label").mean()).iter_rows())
    rates = [float(by_hour.get(hour, overall)) for hour in range(25)]
    column = next(index for index, feature in enumerate(features) if feature.name == "hour")
    nodes = [
        helper.make_node("Gather", ["features", "column"], ["hour"], axis=1),
        helper.make_node("Clip", ["hour", "low", "high"], ["within"]),
        helper.make_node("Cast", ["within"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["rates", "index"], ["prediction"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "late_share_by_hour",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(features)])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None])],
        [
            helper.make_tensor("column", TensorProto.INT64, [], [column]),
            helper.make_tensor("low", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("high", TensorProto.FLOAT, [], [24.0]),
            helper.make_tensor("rates", TensorProto.FLOAT, [25], rates),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _device() -> str:
    """`cuda` where this build of XGBoost can and a device is visible, else `cpu`."""
    import shutil
    import subprocess

    import xgboost

    tool = shutil.which("nvidia-smi")
    if not xgboost.build_info().get("USE_CUDA") or tool is None:
        return "cpu"
    return "cuda" if subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0 else "cpu"
