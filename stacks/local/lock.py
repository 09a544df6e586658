"""One command at a time may change a state folder; the second is told who is at it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.errors import UserError

LOCK, HOLDER = "lock", "lock.holder"
"""What a command leaves in a state folder, also when it then refuses to do anything."""


@contextmanager
def held(home: Path, command: str) -> Iterator[None]:
    """Hold the folder for `command`. Raises UserError at once when another process holds it.

    The lock is the kernel's (flock): it ends with its process, however that ends.
    """
    from filelock import FileLock, Timeout

    holder = home / HOLDER
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(home / LOCK, mode=0o600)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{_holder(holder)} is running in {home}", "Wait for it, or use another `--home`.") from None
    except OSError as error:
        what = f"{home} cannot be used ({error.strerror or error})"
        raise UserError(what, "Remove it, or name another place with `--home`.") from error
    try:
        holder.write_text(json.dumps({"command": command, "pid": os.getpid()}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        other = json.loads(path.read_text())
        return f"`spotforge {other['command']}` (pid {other['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another spotforge command"
