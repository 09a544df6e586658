"""The smallest package worth serving, and the release that names it: what the serving tests run."""

from datetime import UTC, datetime
from typing import Any

from pipelines.model import Feature
from pipelines.objects import Objects
from pipelines.release import record
from pipelines.serving.package import Package, Signature, encode_rows
from pipelines.serving.scorer import Scorer
from stacks.outputs import StackOutputs

FEATURES = (
    Feature(name="distance", low=0, high=5000, unit="miles"),
    Feature(name="carrier", kind="categorical", categories=("AA", "B6", "UA")),
    Feature(name="wind", nullable=True),
)
SIGNATURE = Signature(model="tiny", features=FEATURES, feature_view="0123456789ab", entity="request_id")
EXAMPLE: list[dict[str, Any]] = [
    {"distance": 1000.0, "carrier": "UA", "wind": None},
    {"distance": 200.0, "carrier": "ZZ", "wind": 12.5},
]
WEIGHTS = (0.0004, -0.2, 0.03)


def graph(
    *, weights: tuple[float, ...] = WEIGHTS, opset: int = 17, output: str = "prediction", operator: str = "Sigmoid"
) -> bytes:
    """sigmoid(features · weights), a missing value counting as 0. ONNX as `Trainer.to_onnx` returns it."""
    import onnx
    from onnx import TensorProto, helper

    wide = len(weights)
    nodes = [
        helper.make_node("IsNaN", ["features"], ["gone"]),
        helper.make_node("Where", ["gone", "zero", "features"], ["whole"]),
        helper.make_node("MatMul", ["whole", "weights"], ["score"]),
        helper.make_node(operator, ["score"], [output]),
    ]
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, wide])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None])],
        [
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
            helper.make_tensor("weights", TensorProto.FLOAT, [wide], list(weights)),
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    body: bytes = model.SerializeToString()
    assert onnx.load_from_string(body) is not None
    return body


def package(**of: Any) -> Package:
    onnx = graph(**of)
    bare = Package(onnx, SIGNATURE, "# tiny", EXAMPLE, [])
    expected = Scorer(bare).predict(encode_rows(SIGNATURE, EXAMPLE)).tolist()
    return Package(onnx, SIGNATURE, "# tiny", EXAMPLE, expected)


def publish(
    outputs: StackOutputs, *, number: int = 1, image: str = "sha256:none", packaged: Package | None = None, flush_s: float = 0.5
) -> record.Release:
    """Store the package and a release record that serves it."""
    packaged = packaged or package()
    store = outputs.object_store
    prefix = f"packages/tiny/{packaged.digest[:12]}"
    packaged.save(Objects(store, store.buckets.artifacts), prefix)
    content: dict[str, Any] = {
        "created_at": datetime(2013, 1, 1, tzinfo=UTC),
        "created_by": "test",
        "reason": "test",
        "code": {"git_sha": "unknown", "image": image},
        "model": {"name": "tiny", "version": "1", "digest": packaged.digest, "package": prefix, "run_id": "none"},
        "data": {"training_set": "none", "tables": {}, "partitions": [], "feature_view": SIGNATURE.feature_view},
        "serving": {"log_flush_s": flush_s},
        "infra": outputs.digest(),
        "evidence": {},
    }
    release = record.Release(id=record.release_id(number, content), **content)
    record.save(Objects(store, store.buckets.ledger), release)
    return release
