"""What goes wrong on purpose in the engine tier, and the record of what the providers did.

Where a provider asks it is provider.py's; which faults a walk needs is the test's.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.engine.backend import Refused


@dataclass(frozen=True)
class Call:
    """One real (not previewed) change that a backend was asked for, and whether it came about."""

    name: str
    """create, read, update or delete."""
    urn: str
    done: bool


@dataclass
class Faults:
    """What goes wrong on purpose, and the record of what went right. Safe to read while an operation runs."""

    before: Callable[[str, str], None] | None = None
    """Called with (call, urn) before each create, read, update and delete that is not a preview."""
    calls: list[Call] = field(default_factory=list)
    _pending: list[Callable[[str], bool]] = field(default_factory=list)
    _each: bool = False
    _failed: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail_create_once(self, match: str | Callable[[str], bool]) -> None:
        """The next create whose URN is `match`, ends in `::match`, or satisfies it, fails before anything is made."""
        if callable(match):
            self._pending.append(match)
        else:
            self._pending.append(lambda urn: urn == match or urn.endswith(f"::{match}"))

    def fail_each_create_once(self) -> None:
        """Every create fails the first time it is tried: the longest walk there is."""
        self._each = True

    @property
    def created(self) -> list[str]:
        """URNs in the order in which their creates came about."""
        return [call.urn for call in self.calls if call.name == "create" and call.done]

    @property
    def failed(self) -> set[str]:
        """URNs of the creates that were failed on purpose so far."""
        return set(self._failed)

    @contextmanager
    def around(self, name: str, urn: str) -> Iterator[None]:
        if self.before:
            self.before(name, urn)
        try:
            if name == "create":
                self._fail(urn)
            yield
        except BaseException:
            self.calls.append(Call(name, urn, False))
            raise
        self.calls.append(Call(name, urn, True))

    def _fail(self, urn: str) -> None:
        with self._lock:
            hit = next((match for match in self._pending if match(urn)), None)
            if hit:
                self._pending.remove(hit)
            elif not self._each or urn in self._failed:
                return
            self._failed.add(urn)
        raise Refused(f"injected: the create of {urn.rpartition('::')[2]} fails once")
