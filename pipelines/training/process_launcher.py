"""The local launcher: a worker is a process of its own, as if on a spot node; killing it is a reclaim."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pipelines.training.checkpoints import Checkpoints
from pipelines.training.launcher import Event, Handle
from pipelines.training.worker import PREEMPTED

POLL_S = 0.1
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""Workers that this process started: reaped when they end, so that none stays a zombie."""


@dataclass(frozen=True)
class ProcessLauncher:
    """Starts workers of the stack whose outputs lie in `outputs_file`; `folder` holds what a restart needs to find them."""

    outputs_file: Path
    folder: Path
    checkpoints: Checkpoints
    segments: int

    def submit(self, work: str, epoch: int) -> Handle:
        """Start the worker, or find it: the epoch's record in the store names the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pid_file = self._file(work, epoch, "pid")
        if not self.checkpoints.begin_epoch(epoch, {"placement": "process"}):
            return Handle(work, epoch, _read(pid_file))
        command = [sys.executable, "-m", "pipelines.training.worker", "--outputs", str(self.outputs_file), "--work", work]
        command += ["--epoch", str(epoch), "--exit-file", str(self._file(work, epoch, "exit"))]
        with self._file(work, epoch, "log").open("ab") as log:
            # A session of its own: the worker outlives the run that started it, and a retried run finds it by name.
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=_env()
            )
        _CHILDREN[process.pid] = process
        about = {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
        fresh = pid_file.with_suffix(".new")
        fresh.write_text(json.dumps(about))
        fresh.replace(pid_file)
        return Handle(work, epoch, about)

    def events(self, handle: Handle, *, seen: int = 0) -> Iterator[Event]:
        """Commits as they appear in the store, and the end as soon as the process is gone."""
        yield Event("started", {"name": handle.name, **handle.about, "resumed_from": seen})
        while True:
            # Looked at before the commits are read: what a dead worker committed is then never missed.
            alive = _alive(handle.about)
            for marker in self.checkpoints.committed()[seen:]:
                seen += 1
                yield Event("committed", {"segment": marker["segment"], "seconds": marker["seconds"], **marker["metrics"]})
            if not alive:
                yield self._end(handle, seen)
                return
            time.sleep(POLL_S)

    def _end(self, handle: Handle, seen: int) -> Event:
        if seen >= self.segments:
            return Event("succeeded", {"name": handle.name})
        left = _read(self._file(handle.work, handle.epoch, "exit"))
        if left and left["code"] != PREEMPTED:
            return Event("failed", {"name": handle.name, "reason": left["reason"] or f"exit code {left['code']}"})
        # No word of farewell: it was killed with its node.
        return Event("preempted", {"name": handle.name, "reason": left.get("reason", "killed"), "committed": seen})

    def _file(self, work: str, epoch: int, kind: str) -> Path:
        return self.folder / f"{work}-e{epoch}.{kind}"


def _alive(about: dict[str, Any]) -> bool:
    if not about:
        return False
    child = _CHILDREN.get(int(about["pid"]))
    if child is not None and child.poll() is not None:
        return False
    try:
        process = psutil.Process(int(about["pid"]))
        # A pid may have been given to another process since.
        return process.create_time() == about["created"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content


def _env() -> dict[str, str]:
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
