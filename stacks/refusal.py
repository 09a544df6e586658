"""How a configuration is refused: one line with the key as people write it, what is wrong, and the next move.

Knows pydantic's errors, and nothing of what is configured.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from stacks.errors import UserError


def refuse(message: str) -> PydanticCustomError:
    """An error for a validator to raise, `<what is wrong>; <what to do>`."""
    return PydanticCustomError("refused", "{message}", {"message": message})


def as_user_error(error: ValidationError, model: type[BaseModel], source: str) -> UserError:
    """The first problem as one line: the key as people write it, what is wrong, what to do; and how many more there are."""
    found = error.errors()
    first = found[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    what, do = _explain(dict(first), model)
    more = f" ({len(found) - 1} more after this one.)" if len(found) > 1 else ""
    said = f"{key}: {what}" if key and not what.startswith(key) else what
    return UserError(f"{source}: {said}", f"{do}{more}")


def _explain(problem: dict[str, Any], model: type[BaseModel]) -> tuple[str, str]:
    kind, given = problem["type"], problem.get("input")
    name = str(problem["loc"][-1]) if problem["loc"] else ""
    if kind == "refused":
        what, _, do = str(problem["ctx"]["message"]).partition("; ")
        return what, sentence(do)
    if kind == "extra_forbidden":
        return "there is no such key", sentence(meant(name, _keys_at(model, problem["loc"][:-1])))
    if kind == "missing":
        return "is missing", "Add it; stacks/schema.json says what it holds."
    if kind == "string_type" and isinstance(given, int | float):
        return f"{given!r} is read as a number", "Put it in quotes."
    return f"{problem['msg']}, not {given!r}", "Correct the value."


def _keys_at(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """The keys that exist at a place in the configuration, found in its JSON schema."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})

    def follow(node: dict[str, Any]) -> dict[str, Any]:
        return dict(definitions[node["$ref"].rsplit("/", 1)[-1]]) if "$ref" in node else node

    node: dict[str, Any] = schema
    for part in place:
        node = follow(node["items"] if isinstance(part, int) else node.get("properties", {}).get(part, {}))
    return list(node.get("properties", {}))


def meant(word: str, known: Iterable[str]) -> str:
    """The next move for a word that is not known."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(words)}"


def sentence(text: str) -> str:
    """Capital letter in front, full stop behind."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('?') else '.'}"
