"""supervisord, as the local stack and its fleet use it: programs by name, started, kept alive and stopped.

What the programs are is `stacks.local.parts` and the release room's fleet; here is only how they run.
"""

import hashlib
import importlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stacks.errors import UserError
from stacks.local import paths

START_S = 10.0
_RUNNING = {"STARTING", "RUNNING", "BACKOFF"}
_DEAD = {"FATAL", "EXITED", "STOPPED", "UNKNOWN"}
_FOREIGN = ("AWS_", "MLFLOW_", "DAGSTER_")
Ensured = Literal["kept", "started", "restarted"]


@dataclass(frozen=True)
class Program:
    """One supervised command; restarted whenever it ends by itself."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    stop_wait_s: int = 10

    def render(self, home: Path) -> str:
        """Its section of supervisord's configuration. Percent signs are doubled, as supervisord expands them."""
        command = shlex.join(self.command)
        environment = ",".join(f'{key}="{value}"' for key, value in sorted(self.environment.items()))
        return "\n".join(
            [
                f"[program:{self.name}]",
                f"command={_literal(command)}",
                f"environment={_literal(environment)}",
                f"directory={_literal(self.directory)}",
                "autostart=true",
                "autorestart=true",
                # A part that dies at once is tried a few times, then reported as FATAL instead of spinning.
                "startsecs=1",
                "startretries=3",
                f"stopwaitsecs={self.stop_wait_s}",
                "stopasgroup=true",
                "killasgroup=true",
                "redirect_stderr=true",
                # supervisord expands this one twice.
                f"stdout_logfile={_literal(_literal(paths.log(home, self.name)))}",
                "stdout_logfile_maxbytes=20MB",
                "stdout_logfile_backups=1",
                "",
            ]
        )


@dataclass(frozen=True)
class ProgramState:
    """What supervisord says of a program; `state` is its own word (RUNNING, BACKOFF, FATAL, …)."""

    name: str
    state: str
    pid: int
    since: int
    exit_status: int

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"

    @property
    def dead(self) -> bool:
        """It ended and nobody will start it by itself. One that was just added is STOPPED, too, until it is first started."""
        return self.state in _DEAD and self.since > 0


@dataclass(frozen=True)
class Supervisor:
    """The supervisord of one state folder."""

    home: Path

    def alive(self) -> bool:
        try:
            return bool(self._rpc().getState()["statecode"] == 1)
        except (OSError, ValueError):
            return False

    def pid(self) -> int | None:
        try:
            return int(self._rpc().getPID())
        except (OSError, ValueError):
            return None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start supervisord with no programs but those it was given before. Raises UserError when it does not come up."""
        import tenacity

        folder = self._folder
        (folder / "programs").mkdir(parents=True, exist_ok=True)
        (self.home / "logs").mkdir(exist_ok=True)
        for old in (folder / "programs").glob("*.conf"):
            old.unlink()
        socket = _socket_path(self.home)
        _make_socket_folder(socket)
        self._socket_record.write_text(str(socket))
        config = folder / "supervisord.conf"
        log, pid_file = _literal(paths.log(self.home, "supervisord")), _literal(folder / "pid")
        config.write_text(
            f"[supervisord]\nlogfile={log}\npidfile={pid_file}\nchildlogdir={_literal(folder)}\n"
            f"directory={_literal(self.home)}\nminfds=1024\n"
            f"[unix_http_server]\nfile={_literal(socket)}\nchmod=0600\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            # Relative to this file: the list is split at spaces, which a folder's name may hold.
            "[include]\nfiles=programs/*.conf\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
            env={**inherited(), **environment, paths.MARK: str(self.home)},
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        wait = tenacity.Retrying(
            stop=tenacity.stop_after_delay(START_S),
            wait=tenacity.wait_fixed(0.05),
            retry=tenacity.retry_if_result(lambda up: not up),
            retry_error_callback=lambda _: False,
        )
        if not wait(self.alive):
            said = (done.stderr or done.stdout).strip().splitlines()
            raise UserError(
                f"the supervisor did not start: {said[-1] if said else 'no word'}", "See `spotforge logs supervisord`."
            )

    def ensure(self, program: Program) -> Ensured:
        """Have `program` running as defined: started if absent, restarted if its definition changed. Idempotent."""
        path = self._folder / "programs" / f"{program.name}.conf"
        wanted = program.render(self.home)
        known = path.read_text() if path.exists() else None
        if known != wanted:
            fresh = path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(wanted)
            fresh.replace(path)
        rpc = self._rpc()
        current = self.states().get(program.name)
        if current is not None and known == wanted:
            if current.state in _RUNNING:
                return "kept"
            with _unless("ALREADY_STARTED"):
                rpc.startProcess(program.name, False)
            return "started"
        rpc.reloadConfig()
        if current is not None:
            self._stop(program.name)
        with _unless("ALREADY_ADDED"):
            rpc.addProcessGroup(program.name)
        return "started" if current is None else "restarted"

    def remove(self, name: str) -> None:
        """Stop the program gracefully and forget it. Idempotent."""
        (self._folder / "programs" / f"{name}.conf").unlink(missing_ok=True)
        if name in self.states():
            self._stop(name)
            self._rpc().reloadConfig()

    def restart(self, name: str) -> None:
        """Stop and start a known program."""
        rpc = self._rpc()
        rpc.stopProcessGroup(name, True)
        rpc.startProcess(name, False)

    def states(self) -> dict[str, ProgramState]:
        """Every program by name. Raises UserError when supervisord does not answer."""
        try:
            rows: list[dict[str, Any]] = self._rpc().getAllProcessInfo()
        except (OSError, ValueError) as error:
            raise UserError(f"no stack is running in {self.home}", "Run `spotforge up`.") from error
        return {
            row["name"]: ProgramState(row["name"], row["statename"], row["pid"], row["start"], row["exitstatus"])
            for row in rows
        }

    def shutdown(self, *, last: str | None = None) -> None:
        """Stop every program at once, `last` after all others, then supervisord. Returns at once; the caller waits.

        Left to itself, supervisord stops one after another, which takes the sum of their times; the first added goes last.
        """
        from xmlrpc.client import Fault

        rpc = self._rpc()
        for name, state in self.states().items():
            if name != last and state.state in _RUNNING:
                with suppress(Fault):  # it ended by itself meanwhile
                    rpc.stopProcess(name, False)
        rpc.shutdown()

    def _stop(self, name: str) -> None:
        rpc = self._rpc()
        with _unless("BAD_NAME"):
            rpc.stopProcessGroup(name, True)
        with _unless("BAD_NAME"):
            rpc.removeProcessGroup(name)

    @property
    def _folder(self) -> Path:
        return self.home / "supervisor"

    @property
    def _socket_record(self) -> Path:
        return self._folder / "socket"

    @property
    def _socket(self) -> Path:
        """Where the last supervisord of this folder listens; a shell with another TMPDIR finds it, too."""
        try:
            return Path(self._socket_record.read_text())
        except OSError:
            return _socket_path(self.home)

    def _rpc(self) -> Any:
        import xmlrpc.client

        # The library has no types.
        transport = importlib.import_module("supervisor.xmlrpc").SupervisorTransport(None, None, f"unix://{self._socket}")
        return _Calls(xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport), transport)


@dataclass(frozen=True)
class _Calls:
    """supervisord's methods by name; the connection is closed after each, or every poll would leave one open."""

    proxy: Any
    transport: Any

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            try:
                return getattr(self.proxy.supervisor, name)(*arguments)
            finally:
                self.transport.close()

        return call


@contextmanager
def _unless(expected: str) -> Iterator[None]:
    """A call that supervisord may refuse with `expected`: somebody else has done it already."""
    from xmlrpc.client import Fault

    try:
        yield
    except Fault as fault:
        if expected not in fault.faultString:
            raise


def inherited() -> dict[str, str]:
    """The caller's environment without what would steer a part elsewhere: another account, tracking server or instance."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def _socket_path(home: Path) -> Path:
    # A Unix socket's path may hold 107 bytes, and a checkout lies deeper than that soon enough.
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"spotforge-{os.getuid()}-{digest}" / "supervisor.sock"


def _make_socket_folder(socket: Path) -> None:
    folder = socket.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    # Whoever may write here may command the stack.
    if about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise UserError(f"{folder} is not yours alone", "Remove it, or set TMPDIR to a folder of your own.")


def _literal(value: object) -> str:
    """Text that supervisord takes as it is: it expands percent signs."""
    return str(value).replace("%", "%%")
