"""Between the engine's protobuf values and plain Python ones, unknowns included; and the parts of a URN.

Secrets and references never come here: the handshake refuses them.
"""

import json
from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]  # no types are installed

from tests.engine.backend import UNKNOWN

# What the engine sends for a value that is not known yet (pulumi/sdk/go/common/resource/plugin/rpc.go, UnknownStringValue).
UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def parts(urn: str) -> tuple[str, str, str]:
    """(stack, type, name) of a URN; the type is the resource's own, without its parents'."""
    head, _, types, name = urn.split("::", 3)
    return head.removeprefix("urn:pulumi:"), types.rpartition("$")[2], name


def known(value: Any) -> bool:
    """Whether no part of a value is UNKNOWN."""
    if isinstance(value, dict):
        return all(known(item) for item in value.values())
    if isinstance(value, list):
        return all(known(item) for item in value)
    return value is not UNKNOWN


def plain(message: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct as Python values: unknowns as UNKNOWN, whole numbers as int (the wire knows only doubles)."""
    return {key: _plain(value) for key, value in message.fields.items()}


def _plain(value: struct_pb2.Value) -> Any:
    which = value.WhichOneof("kind")
    if which == "struct_value":
        return plain(value.struct_value)
    if which == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if which == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if which == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_TEXT else value.string_value
    return value.bool_value if which == "bool_value" else None


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(_wire(values))
    return message


def _wire(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_wire(item) for item in value]
    return UNKNOWN_TEXT if value is UNKNOWN else value


def setting(value: Any) -> Any:
    """Provider settings that are no strings arrive as JSON text; a string of digits (an account) stays a string."""
    if not isinstance(value, str):
        return value
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, dict | list | bool) else value
