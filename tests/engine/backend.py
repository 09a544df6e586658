"""What stands behind a provider of the engine tier: eight calls over plain dicts. gRPC, secrets and faults are provider.py's.

Inputs and outputs have Pulumi's own (camelCase) names; nothing here knows AWS or Kubernetes.
"""

from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable


@final
class _Unknown:
    """A value that the engine does not know yet (an output of something not made), anywhere within inputs on a preview."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __copy__(self) -> "_Unknown":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "_Unknown":
        return self


UNKNOWN = _Unknown()


class Refused(Exception):
    """The backend says no to a create, read, update, delete or invoke; a person sees the message as the resource's error."""


@dataclass(frozen=True)
class Difference:
    """Which top-level inputs changed, and which of them cannot be changed in place."""

    changes: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    delete_before_replace: bool = False


@dataclass(frozen=True)
class Found:
    """One resource as the backend has it: `inputs` are what a program would write for it (import and refresh use them)."""

    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Backend(Protocol):
    """`kind` is a Pulumi type (`aws:s3/bucket:Bucket`), `name` a resource's name in the program, `instance` one provider of it.

    Only `check` and `diff` can meet UNKNOWN; the rest run when all is known. Failures are exceptions, best `Refused`.
    """

    def configure(self, instance: str, settings: dict[str, Any]) -> None:
        """The settings of one provider instance (region, default tags, kubeconfig)."""

    def check(
        self, kind: str, name: str, inputs: dict[str, Any], old: dict[str, Any] | None, instance: str
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Inputs with defaults and automatic names filled in, and (property, reason) of each refusal."""
        ...

    def diff(self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str) -> Difference: ...

    def create(self, kind: str, urn: str, inputs: dict[str, Any], instance: str) -> Found: ...

    def read(self, kind: str, id: str, instance: str, inputs: dict[str, Any] | None) -> Found | None:
        """What is there now, never what the program asked for; None where it is gone. `inputs` is None on an import."""
        ...

    def update(
        self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str
    ) -> dict[str, Any]: ...

    def delete(self, kind: str, id: str, outputs: dict[str, Any], instance: str) -> None: ...

    def invoke(self, token: str, args: dict[str, Any], instance: str) -> dict[str, Any]: ...


@runtime_checkable
class Previews(Protocol):
    """A backend that can try a change without making it. None: it cannot say here, and the inputs are echoed instead."""

    def preview_create(self, kind: str, urn: str, inputs: dict[str, Any], instance: str) -> dict[str, Any] | None: ...

    def preview_update(
        self, kind: str, id: str, old_inputs: dict[str, Any], inputs: dict[str, Any], instance: str
    ) -> dict[str, Any] | None: ...
