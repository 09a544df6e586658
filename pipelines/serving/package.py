"""A packaged model as it lies in the store: graph, signature, card and example, each under its digest.

How it was trained is not here; nothing is ever pickled. Runs in the serving image, so numpy only.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.model import Feature, Model, view_version
from pipelines.objects import ObjectExists, ObjectMissing, Objects
from stacks.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MARKER = "package.json"
"""Written last: names every member with size and digest. Without it there is no package."""
ONNX, SIGNATURE, CARD, EXAMPLE = "model.onnx", "signature.json", "card.md", "example.json"
_MISSING = float("nan")
_MEND = "Package the model again (asset `model_package`)."


class PackageDamaged(UserError):
    """The package is missing, torn or altered; the store itself answered."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a caller must send: the features in the order of the graph's input columns."""

    model: str
    features: tuple[Feature, ...]
    feature_view: str
    """`pipelines.model.view_version` of the model that was trained."""
    entity: str
    """Name of the request id column."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def codes(self) -> tuple[dict[str, float] | None, ...]:
        """A feature's category to its code; None where the feature is numeric."""
        return tuple(
            {category: float(code) for code, category in enumerate(feature.categories)}
            if feature.kind == "categorical"
            else None
            for feature in self.features
        )

    @classmethod
    def of(cls, model: Model) -> "Signature":
        return cls(model=model.name, features=model.features, feature_view=view_version(model), entity=model.entity)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Signature":
        """Raises ValueError, KeyError or TypeError when `text` is not a signature."""
        content = json.loads(text)
        features = tuple(Feature(**{**entry, "categories": tuple(entry["categories"])}) for entry in content.pop("features"))
        return cls(features=features, **content)


@dataclass(frozen=True)
class Package:
    """A model ready to serve. `expected` are its predictions for the `example` rows (feature name to value)."""

    onnx: bytes
    signature: Signature
    card: str
    example: list[dict[str, Any]]
    expected: list[float]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of `model.onnx`."""
        return hashlib.sha256(self.onnx).hexdigest()

    def save(self, objects: Objects, prefix: str) -> None:
        """Write the members, then the marker. Saving again is harmless: the first card and example stand.

        Raises UserError when another graph or signature lies under `prefix`.
        """
        members = self._members()
        body = _marker(members)
        try:
            standing = json.loads(objects.get(_key(prefix, MARKER)))
        except ObjectMissing:
            for name, content in members.items():
                objects.put(_key(prefix, name), content)
            try:
                objects.put_new(_key(prefix, MARKER), body)
                return
            except ObjectExists:
                standing = json.loads(objects.get(_key(prefix, MARKER)))
        mine = json.loads(body)
        if any(standing[name] != mine[name] for name in (ONNX, SIGNATURE)):
            raise UserError(f"{prefix} holds another package", "A package is immutable; save this one under its own digest.")

    @classmethod
    def load(cls, objects: Objects, prefix: str) -> "Package":
        """Read and verify. Raises PackageDamaged (a UserError) that names the object at fault."""
        marker = _key(prefix, MARKER)
        try:
            listed = {name: (entry["size"], entry["sha256"]) for name, entry in json.loads(objects.get(marker)).items()}
            wanted = [listed[name] for name in (ONNX, SIGNATURE, CARD, EXAMPLE)]
        except ObjectMissing as error:
            raise PackageDamaged(f"there is no complete package under {prefix} ({marker} is missing)", _MEND) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PackageDamaged(f"{marker} is not a package marker", _MEND) from error
        bodies = [
            _verified(objects, _key(prefix, name), size, digest)
            for name, (size, digest) in zip((ONNX, SIGNATURE, CARD, EXAMPLE), wanted, strict=True)
        ]
        onnx, signature, card, example = bodies
        try:
            rows = json.loads(example)
            return cls(onnx, Signature.from_json(signature), card.decode(), rows["example"], rows["expected"])
        except (ValueError, KeyError, TypeError) as error:
            raise PackageDamaged(f"{prefix}: a member cannot be read ({error})", _MEND) from error

    def _members(self) -> dict[str, bytes]:
        rows = [{name: _plain(value) for name, value in row.items()} for row in self.example]
        try:
            example = json.dumps({"example": rows, "expected": list(map(float, self.expected))}, allow_nan=False, indent=1)
        except ValueError as error:
            raise UserError(
                "the package's example or its predictions hold a number that is not finite", "Choose other example rows."
            ) from error
        return {
            ONNX: self.onnx,
            SIGNATURE: self.signature.to_json().encode(),
            CARD: self.card.encode(),
            EXAMPLE: example.encode(),
        }


def save(package: Package, objects: Objects, prefix: str) -> None:
    """As `Package.save`."""
    package.save(objects, prefix)


def load(objects: Objects, prefix: str) -> Package:
    """As `Package.load`."""
    return Package.load(objects, prefix)


def encode_rows(signature: Signature, rows: Sequence[Mapping[str, Any]]) -> "Floats":
    """Rows (feature name to value) as the graph sees them: float32 [rows, features]; null and unseen become NaN.

    Agrees with `pipelines.model.encode`, without polars. Raises KeyError for a row without a feature.
    """
    return encode_values(signature, [[row[name] for name in signature.names] for row in rows])


def encode_values(signature: Signature, rows: Sequence[Sequence[Any]]) -> "Floats":
    """As `encode_rows`, of values in the order of `signature.features`."""
    import numpy as np

    numbers = [
        (_MISSING if value is None else value) if codes is None else codes.get(value, _MISSING)
        for row in rows
        for value, codes in zip(row, signature.codes, strict=True)
    ]
    # A number beyond float32 becomes infinity, as in polars; the server refuses such a number before it gets here.
    with np.errstate(over="ignore"):
        return np.array(numbers, dtype=np.float32).reshape(len(rows), len(signature.features))


def _plain(value: Any) -> Any:
    """JSON has no NaN; a missing number is null, which is encoded the same."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _marker(members: Mapping[str, bytes]) -> bytes:
    listed = {name: {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()} for name, body in members.items()}
    return json.dumps(listed, sort_keys=True, indent=2).encode()


def _verified(objects: Objects, key: str, size: int, digest: str) -> bytes:
    try:
        body = objects.get(key)
    except ObjectMissing as error:
        raise PackageDamaged(f"{key} is missing from the package", _MEND) from error
    if len(body) != size or hashlib.sha256(body).hexdigest() != digest:
        raise PackageDamaged(f"{key} is torn or was altered: its digest does not match the package marker", _MEND)
    return body


def _key(prefix: str, name: str) -> str:
    return f"{prefix.rstrip('/')}/{name}"
