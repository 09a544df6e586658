"""A backend that keeps things in a dict, for the proof of the harness itself: a `memory:index:Thing` with a size and a place.

Nothing of the platform is served from here.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

from tests.engine.backend import Difference, Found, Refused

# A thing is moved by making another; everything else about it changes in place.
FIXED = ("place",)


@dataclass
class Memory:
    """A Backend whose things are plain dicts by id; `settings` is what each provider instance was configured with."""

    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def configure(self, instance: str, settings: dict[str, Any]) -> None:
        self.settings[instance] = settings

    def check(
        self, kind: str, name: str, inputs: dict[str, Any], old: dict[str, Any] | None, instance: str
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        unknown = sorted(inputs.keys() - {"size", "place", "after"})
        return inputs, [(key, "a thing has no such input") for key in unknown]

    def diff(self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str) -> Difference:
        changed = tuple(sorted(key for key in {*old_inputs, *inputs} if old_inputs.get(key) != inputs.get(key)))
        return Difference(changed, tuple(key for key in changed if key in FIXED))

    def create(self, kind: str, urn: str, inputs: dict[str, Any], instance: str) -> Found:
        with self._lock:
            self._count += 1
            id = f"thing-{self._count}"
            self.things[id] = inputs
        return Found(id, inputs, self._outputs(id))

    def read(self, kind: str, id: str, instance: str, inputs: dict[str, Any] | None) -> Found | None:
        return Found(id, self.things[id], self._outputs(id)) if id in self.things else None

    def update(self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str) -> dict[str, Any]:
        self.things[id] = inputs
        return self._outputs(id)

    def delete(self, kind: str, id: str, outputs: dict[str, Any], instance: str) -> None:
        self.things.pop(id, None)

    def invoke(self, token: str, args: dict[str, Any], instance: str) -> dict[str, Any]:
        raise Refused(f"{token} is nothing that a memory can answer")

    def _outputs(self, id: str) -> dict[str, Any]:
        return {**self.things[id], "address": f"memory://{id}"}
