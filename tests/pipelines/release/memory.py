"""A bucket in memory, as `pipelines.objects` sees one: for simulations that make thousands of calls, and may take it away."""

from collections.abc import Iterator

from pipelines.objects import ObjectExists, ObjectMissing, Objects, Stored
from stacks.errors import UserError
from stacks.outputs import Buckets, ObjectStore


class Memory(Objects):
    """A bucket in memory with conditional writes."""

    def __init__(self) -> None:
        super().__init__(ObjectStore(region="-", buckets=Buckets(artifacts="-", data="-", ledger="-", logs="-")), "memory")
        object.__setattr__(self, "content", {})
        object.__setattr__(self, "away", False)

    content: dict[str, bytes]
    away: bool

    def _check(self) -> None:
        if self.away:
            raise UserError("object store cannot be reached", "Wait.")

    def put(self, key: str, body: bytes) -> None:
        self._check()
        self.content[key] = body

    def put_new(self, key: str, body: bytes) -> None:
        self._check()
        if key in self.content:
            raise ObjectExists(key)
        self.content[key] = body

    def get(self, key: str) -> bytes:
        self._check()
        if key not in self.content:
            raise ObjectMissing(key)
        return self.content[key]

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Stored]:
        self._check()
        for key in sorted(self.content):
            if key.startswith(prefix) and key > after:
                yield Stored(key, len(self.content[key]), "-")

    def versions(self, prefix: str = "") -> dict[str, int]:
        return {stored.key: 1 for stored in self.list(prefix)}
