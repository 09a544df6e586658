"""The local launcher: a worker is a process of its own, as if on a spot node; killing it is a reclaim."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from pipelines.training.checkpoints import Checkpoints
from pipelines.training.launcher import Event, Handle, Placement
from pipelines.training.worker import FENCED, PREEMPTED
from stacks.local import paths

POLL_S = 0.1
WORKER = "pipelines.training.worker"
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""Workers that this process started: reaped when they end, so that none stays a zombie."""


@dataclass(frozen=True)
class ProcessLauncher:
    """Starts workers of the stack whose outputs lie in `outputs_file`; `home` is its state folder."""

    outputs_file: Path
    home: Path
    checkpoints: Checkpoints

    @property
    def folder(self) -> Path:
        """What a restart needs to find the workers: pid, log and exit file of each placement."""
        return self.home / "training"

    def submit(self, work: str, epoch: int, placement: Placement) -> Handle:
        """Start the worker, or find it. A lock holds off a second submit until the first has said which process it is."""
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._file(work, epoch, "lock")):
            about = {**asdict(placement), "at": datetime.now(UTC).isoformat()}
            if not self.checkpoints.begin_epoch(epoch, about):
                return self._find(work, epoch)
            return self._start(work, epoch, asdict(placement))

    def reattach(self, work: str, epoch: int) -> Handle | None:
        """The placement, if its process still runs."""
        handle = self._find(work, epoch)
        return handle if _alive(handle.about) else None

    def events(self, handle: Handle, *, after: int = -1) -> Iterator[Event]:
        """Commits as they appear in the store, and the end as soon as the process is gone."""
        yield Event("started", {"name": handle.name, **handle.about, "resumed_from": after + 1})
        while True:
            # Looked at before the commits are read: what a dead worker committed is then never missed.
            alive = _alive(handle.about)
            for marker in self.checkpoints.committed(after):
                after = marker["segment"]
                yield Event("committed", {"segment": after, "seconds": marker["seconds"], **marker["metrics"]})
            if not alive:
                yield self._end(handle, after)
                return
            time.sleep(POLL_S)

    def _start(self, work: str, epoch: int, placement: dict[str, Any]) -> Handle:
        command = [sys.executable, "-m", WORKER, "--outputs", str(self.outputs_file), "--work", work]
        command += ["--epoch", str(epoch), "--exit-file", str(self._file(work, epoch, "exit"))]
        # SPOTFORGE_HOME is how `down` finds it; spinning OpenMP threads make training ten times slower on a small node.
        environment = {**os.environ, paths.ENV: str(self.home), "OMP_WAIT_POLICY": "PASSIVE"}
        with self._file(work, epoch, "log").open("ab") as log:
            # A session of its own: the worker outlives the run that started it, and a retried run finds it by name.
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=environment
            )
        _CHILDREN[process.pid] = process
        about = {"pid": process.pid, "created": psutil.Process(process.pid).create_time(), **placement}
        pid_file = self._file(work, epoch, "pid")
        fresh = pid_file.with_suffix(".new")
        fresh.write_text(json.dumps(about))
        fresh.replace(pid_file)
        return Handle(work, epoch, about)

    def _find(self, work: str, epoch: int) -> Handle:
        return Handle(work, epoch, _read(self._file(work, epoch, "pid")) or _by_command(work, epoch))

    def _end(self, handle: Handle, last: int) -> Event:
        child = _CHILDREN.pop(int(handle.about.get("pid", 0)), None)
        if child is not None:
            # Its main thread may be gone before the others: then it looks like a zombie that cannot be reaped yet.
            child.wait()
        left = _read(self._file(handle.work, handle.epoch, "exit"))
        detail = {"name": handle.name, "committed": last + 1}
        if not left:
            # No word of farewell: it was killed with its node.
            return Event("preempted", {**detail, "reason": "killed"})
        if left["code"] == 0:
            return Event("succeeded", detail)
        if left["code"] in {PREEMPTED, FENCED}:
            return Event("preempted", {**detail, "reason": left["reason"]})
        return Event("failed", {**detail, "reason": left["reason"] or f"exit code {left['code']}"})

    def _file(self, work: str, epoch: int, kind: str) -> Path:
        return self.folder / f"{work}-e{epoch}.{kind}"


def _by_command(work: str, epoch: int) -> dict[str, Any]:
    """A worker whose launcher was killed before it could write down the pid."""
    for process in psutil.process_iter(["cmdline", "create_time"]):
        command = process.info["cmdline"] or []
        if WORKER in command and command[-6:-2] == ["--work", work, "--epoch", str(epoch)]:
            return {"pid": process.pid, "created": process.info["create_time"]}
    return {}


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
