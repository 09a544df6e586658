"""One command at a time may change a state folder; the second is told who is at it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.errors import UserError


@contextmanager
def held(home: Path, command: str) -> Iterator[None]:
    """Hold the folder for `command`. Raises UserError at once when another process holds it.

    The lock is the kernel's (flock): it ends with its process, however that ends.
    """
    from filelock import FileLock, Timeout

    holder = home / "lock.holder"
    lock = FileLock(home / "lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            other = json.loads(holder.read_text())
            who = f"`spotforge {other['command']}` (pid {other['pid']})"
        except (OSError, ValueError, KeyError):
            who = "another spotforge command"
        raise UserError(f"{who} is running in {home}", "Wait for it, or use another `--home`.") from None
    try:
        holder.write_text(json.dumps({"command": command, "pid": os.getpid()}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
