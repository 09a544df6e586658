"""Scores a package's own example, inside the image that will serve it: `python -m pipelines.serving.score`, request on stdin.

One JSON line in, `{"store", "bucket", "prefix"}`; one out, `{"predictions", "expected"}` or `{"damaged"}` or `{"error", "do"}`.
Started by `gate`, which judges the answer.
"""

import json
import sys
from typing import Any

from pipelines.objects import Objects
from pipelines.serving import package
from pipelines.serving.scorer import Scorer
from stacks.errors import UserError
from stacks.outputs import ObjectStore


def score(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request; what the package is guilty of is `damaged`, what anything else is guilty of is `error`."""
    try:
        objects = Objects(ObjectStore.model_validate(request["store"]), request["bucket"])
        packaged = package.load(objects, request["prefix"])
        matrix = package.encode_rows(packaged.signature, packaged.example)
        predictions = Scorer(packaged).predict(matrix).tolist()
    except package.PackageDamaged as error:
        return {"damaged": str(error)}
    except UserError as error:
        return {"error": error.what, "do": error.do}
    except Exception as error:  # the graph failed on its own example, in whatever way onnxruntime says that
        return {"damaged": f"the example cannot be scored: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"}
    return {"predictions": predictions, "expected": packaged.expected}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(score(json.load(sys.stdin))) + "\n")
