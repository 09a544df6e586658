"""The local stack as a whole: up, status, down. Idempotent: what lives is kept, what is dead is started, strays are ended.

What the parts are is `parts`; how programs are kept alive is `supervisor`.
"""

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stacks import credentials
from stacks.errors import UserError
from stacks.local import configuration, paths, ports
from stacks.local import parts as parts_module
from stacks.local.parts import PARTS, Part
from stacks.local.supervisor import Supervisor
from stacks.outputs import Buckets, Gateway, ObjectStore, Orchestration, StackOutputs, Tracking

if TYPE_CHECKING:
    import psutil

Progress = Callable[[str, str], None]
"""Called with (part, what happened): started, kept, ready, …"""

READY_S = 180.0
"""MLflow, the slowest, took 100 s beside eight busy test runs on two cores; past this, something is wrong."""
MIN_FREE_BYTES = 2 << 30
"""A year of flights with its tables, models and images takes about 1 GB; below twice that the store would fill the disk."""
POLL_S = 0.1
STOP_S = 20.0
DEATHS = 3
"""A part that ended so often before it was ready will not come up by itself: its dependencies are there within one try."""
DATABASES = ("mlflow/mlflow.db", "dagster/history/runs.db", "dagster/history/runs/index.db", "dagster/schedules/schedules.db")
PURGE = "Run `spotforge down --purge` to forget its state, or name another place with `--home`."


@dataclass(frozen=True)
class PartStatus:
    """One part as it is now. `memory` in bytes, of the process and its children; `uptime` in seconds."""

    name: str
    state: str
    pid: int
    address: str
    uptime: float
    memory: int


def prepare(home: Path, *, port_base: int | None = None, model: str | None = None) -> tuple[StackOutputs, ports.Ports]:
    """Make the folder whole: ports, credentials, outputs, configuration. Raises UserError when damaged or the disk is full."""
    with _usable(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
        if free < MIN_FREE_BYTES:
            raise UserError(
                f"{home} has {free / 2**30:.1f} GiB free and the stack wants {MIN_FREE_BYTES / 2**30:.0f}",
                "Free some space, or name another place with `--home`.",
            )
        remembered = ports.load(home / "ports.json")
        chosen = ports.Ports.at(port_base) if port_base else remembered or ports.Ports.at(ports.DEFAULT_BASE)
        ports.save(home / "ports.json", chosen)
        credentials.ensure(paths.credentials(home))
        outputs = _outputs(home, chosen, model or chosen_model(home))
        fresh = paths.outputs(home).with_suffix(".new")
        fresh.write_text(outputs.to_json())
        fresh.replace(paths.outputs(home))
        configuration.write(home, chosen)
    return outputs, chosen


@contextmanager
def _usable(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error.filename or home} cannot be used ({error.strerror or error})"
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise UserError(what, "Free some space, then run the command again." if full else PURGE) from error


def _check_databases(home: Path) -> None:
    """SQLite's own check of what is there; a part would only die of it, with a traceback in its log. Nothing may be running."""
    import sqlite3

    for path in (home / name for name in DATABASES):
        if not path.exists():
            continue
        try:
            with closing(sqlite3.connect(path)) as connection:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            found = str(error)
        if found != "ok":
            raise UserError(f"{path} is damaged ({' '.join(found.split())})", PURGE)


def up(
    home: Path,
    *,
    port_base: int | None = None,
    model: str | None = None,
    parts: Iterable[str] = PARTS,
    progress: Progress = lambda part, word: None,
) -> StackOutputs:
    """Bring the parts up and return when each has answered its probe. The caller holds the lock.

    Raises UserError when a port is taken, the folder is damaged, or a part does not become ready.
    """
    supervisor = Supervisor(home)
    living = supervisor.alive()
    if living:
        _refuse_change(home, port_base, model)
    outputs, chosen = prepare(home, port_base=None if living else port_base, model=model)
    strays = stragglers(home) if not living else []
    if strays:
        pids = ", ".join(str(process.pid) for process in strays)
        progress("stack", f"ended processes that an earlier run left behind: {pids}")
        _end(strays)
    built = {name: part for name, part in parts_module.build(home, chosen, outputs).items() if name in set(parts)}
    try:
        if not living:
            _check_databases(home)
            ports.check_free(chosen)
            with _usable(home):
                supervisor.start(parts_module.environment(home, outputs))
        for name, part in built.items():
            progress(name, SAID[supervisor.ensure(part.program)])
        _await_ready(home, supervisor, built, progress)
    except (KeyboardInterrupt, SystemExit):
        if not living:
            progress("stack", "interrupted: what was started is stopped")
            down(home)
        raise
    return outputs


SAID = {"kept": "kept", "started": "starting", "restarted": "starting anew, as its definition changed"}


def _refuse_change(home: Path, port_base: int | None, model: str | None) -> None:
    """A living stack keeps its ports and its model: its parts hold both in their environment."""
    known = ports.load(home / "ports.json")
    if port_base and known and known.base != port_base:
        raise UserError(f"the stack in {home} is running on ports from {known.base}", "Run `spotforge down` first.")
    running = StackOutputs.load(paths.outputs(home)).model if paths.outputs(home).exists() else None
    if model and running and running != model:
        raise UserError(f"the stack in {home} is running with the model {running}", "Run `spotforge down` first.")


def status(home: Path) -> list[PartStatus]:
    """Every part and model server. Raises UserError when no stack runs in `home`."""
    outputs = StackOutputs.load(paths.outputs(home)) if paths.outputs(home).exists() else None
    states = Supervisor(home).states()
    chosen = ports.load(home / "ports.json")
    known = parts_module.build(home, chosen, outputs) if outputs and chosen else {}
    rows = []
    for name in sorted(states, key=lambda name: (PARTS.index(name) if name in PARTS else len(PARTS), name)):
        state = states[name]
        address = known[name].address if name in known else "-"
        uptime = time.time() - state.since if state.running else 0.0
        rows.append(PartStatus(name, state.state, state.pid, address, uptime, _memory(state.pid)))
    return rows


def down(home: Path, *, progress: Progress = lambda part, word: None) -> int:
    """Stop everything of the stack in `home`, strays too; returns how many processes ended. The caller holds the lock."""
    everything = stragglers(home)
    supervisor = Supervisor(home)
    if supervisor.alive():
        import psutil

        progress("stack", "stopping")
        itself = psutil.Process(supervisor.pid())
        # A training worker is nobody's child; told now, it can still write its last segment into the store.
        for process in {*everything} - {itself, *itself.children(recursive=True)}:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        supervisor.shutdown(last="seaweedfs")
        psutil.wait_procs([itself], timeout=STOP_S)
    _end(stragglers(home))
    return len(everything)


def stragglers(home: Path) -> "list[psutil.Process]":
    """Every process that carries this state folder in its environment, this one and its parents excepted."""
    import psutil

    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            if process.environ().get(paths.MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, OSError):
            continue
    return found


def _end(processes: "list[psutil.Process]") -> None:
    import psutil

    for sent, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        for process in processes:
            try:
                process.send_signal(sent)
            except psutil.NoSuchProcess:
                continue
        _, processes = psutil.wait_procs(processes, timeout=patience)
        if not processes:
            return


def _await_ready(home: Path, supervisor: Supervisor, built: dict[str, Part], progress: Progress) -> None:
    waiting = dict(built)
    seen: dict[str, set[int]] = {name: set() for name in built}
    deadline = time.monotonic() + READY_S
    while waiting:
        states = supervisor.states()
        for name, part in list(waiting.items()):
            state = states[name]
            if state.pid:
                seen[name].add(state.pid)
            if state.state == "FATAL" or len(seen[name]) > DEATHS:
                raise UserError(f"{name} does not start: {_telling_line(home, name)}", f"See `spotforge logs {name}`.")
            # A listener that answers may be somebody else's; so the part itself must be running, too.
            if state.state in {"RUNNING", "STARTING"} and part.ready():
                progress(name, "ready")
                del waiting[name]
        if time.monotonic() > deadline:
            name = next(iter(waiting))
            raise UserError(
                f"{name} is not ready after {READY_S:.0f} s: {_telling_line(home, name)}", f"See `spotforge logs {name}`."
            )
        time.sleep(POLL_S)


def _telling_line(home: Path, part: str) -> str:
    """Of the end of a part's log, the last line that speaks of an error; else the last one."""
    try:
        lines = [line.strip() for line in paths.log(home, part).read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "no log"
    bad = [line for line in lines[-40:] if any(word in line.lower() for word in ("error", "exception", "fatal", "cannot"))]
    return (bad or lines or ["no word in its log"])[-1][-200:]


def _memory(pid: int) -> int:
    import psutil

    try:
        process = psutil.Process(pid)
        return sum(int(one.memory_info().rss) for one in [process, *process.children(recursive=True)])
    except (psutil.NoSuchProcess, ValueError):
        return 0


def chosen_model(home: Path | None) -> str:
    """The model package to run: $SPOTFORGE_MODEL's, else what the stack in `home` ran before, else the default."""
    default = str(StackOutputs.model_fields["model"].default)
    known = os.environ.get("SPOTFORGE_MODEL")
    if known or home is None:
        return known or default
    try:
        return StackOutputs.load(paths.outputs(home)).model
    except UserError:
        return default  # there is none yet, or it is damaged and written anew


def _outputs(home: Path, chosen: ports.Ports, model: str) -> StackOutputs:
    url = f"http://{ports.HOST}:%d"
    return StackOutputs(
        stack="local",
        platform="local",
        model=model,
        object_store=ObjectStore(
            region="us-east-1",
            endpoint=url % chosen.s3,
            credentials_file=paths.credentials(home),
            buckets=Buckets(artifacts="artifacts", data="data", ledger="ledger", logs="logs"),
        ),
        tracking=Tracking(uri=url % chosen.mlflow),
        orchestration=Orchestration(url=url % chosen.dagster),
        gateway=Gateway(url=url % chosen.gateway, admin_url=url % chosen.gateway_admin),
        state_dir=home,
    )
