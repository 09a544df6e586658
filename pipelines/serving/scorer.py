"""Runs a package's graph. No HTTP, no store."""

from typing import TYPE_CHECKING

from pipelines.serving.package import Package, PackageDamaged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

INPUT, OUTPUT = "features", "prediction"
_MEND = "See what `Trainer.to_onnx` must return in docs/bring-your-own-model.md, and package the model again."


class Scorer:
    """One loaded graph, thread-safe. Raises PackageDamaged when this onnxruntime cannot run it or it breaks the contract."""

    def __init__(self, package: Package) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A row takes microseconds: a pool of threads in each server would cost more than it saves, and spin.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised; warnings would go to stderr past every log
        try:
            self._session = onnxruntime.InferenceSession(package.onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own, without a common base
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise PackageDamaged(f"onnxruntime {onnxruntime.__version__} cannot load the model: {line}", _MEND) from error
        inputs = {entry.name: entry.shape for entry in self._session.get_inputs()}
        outputs = {entry.name for entry in self._session.get_outputs()}
        width = len(package.signature.features)
        if list(inputs) != [INPUT] or OUTPUT not in outputs:
            raise PackageDamaged(
                f"the model has inputs {sorted(inputs)} and outputs {sorted(outputs)}, not {INPUT!r} and {OUTPUT!r}", _MEND
            )
        if isinstance(inputs[INPUT][-1], int) and inputs[INPUT][-1] != width:
            raise PackageDamaged(f"the model takes {inputs[INPUT][-1]} features, its signature names {width}", _MEND)

    def predict(self, matrix: "Floats") -> "Floats":
        """Predictions, float32 [rows], for a matrix as `package.encode_rows` makes it."""
        answer: Floats = self._session.run([OUTPUT], {INPUT: matrix})[0]
        return answer.reshape(-1)
