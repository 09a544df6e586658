"""Checks a manifest's spec against the structural schema of its CustomResourceDefinition, as an API server would.

Types, enums, patterns, bounds, required and unknown fields. CEL rules are not run: the cluster tier does that.
"""

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "crds"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    # Pulumi's wire knows one kind of number.
    "integer": (int, float),
}


def problems(kind: str, spec: Any) -> list[str]:
    """What the API server of Karpenter 1.14.1 would refuse in the spec of a `nodepool` or `ec2nodeclass`."""
    return list(_walk(json.loads((FOLDER / f"{kind}.json").read_text())["spec"], spec, "spec"))


def _walk(schema: dict[str, Any], value: Any, at: str) -> Any:
    if schema.get("x-kubernetes-int-or-string"):
        return
    expected = TYPES[schema["type"]]
    if not isinstance(value, expected) or (bool not in expected and isinstance(value, bool)):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value!r} does not match {schema.get('pattern')}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value!r} is out of bounds"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{at}: {len(value)} items"
        for index, item in enumerate(value):
            yield from _walk(schema["items"], item, f"{at}[{index}]")
    if isinstance(value, dict):
        yield from _fields(schema, value, at)


def _fields(schema: dict[str, Any], value: dict[str, Any], at: str) -> Any:
    known = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{at}.{name} is missing"
    for name, item in value.items():
        if name in known:
            yield from _walk(known[name], item, f"{at}.{name}")
        elif "additionalProperties" in schema:
            yield from _walk(schema["additionalProperties"], item, f"{at}.{name}")
        else:
            yield f"{at}.{name} is not a field"
