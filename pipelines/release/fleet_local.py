"""The fleet as processes on this machine: each release's servers run from its own restored image, under supervisord.

Whether a release should run is the controller's business; how a server answers is the serving room's.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.objects import Objects
from pipelines.release import gates
from pipelines.release.platform import Endpoint, ServerFailed
from pipelines.release.record import Release
from stacks.errors import UserError
from stacks.local import paths, ports
from stacks.local.supervisor import Program, ProgramState, Supervisor
from stacks.outputs import StackOutputs

PREFIX = "serving-"
# A server that supervisord gave up on is tried again this often: production has nobody else.
AGAIN_S = 10.0
# The server drains for at most 1 s and writes its log for at most 3 s.
STOP_S = 6


@dataclass
class LocalFleet:
    """Implements `platform.Fleet`. Ports are remembered in the state folder: a new controller finds the same servers."""

    outputs: StackOutputs
    outputs_file: Path
    home: Path
    _restored: dict[str, Path] = field(default_factory=dict)
    _tried: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, outputs: StackOutputs, outputs_file: Path) -> "LocalFleet":
        if outputs.state_dir is None:
            raise UserError("the outputs name no state folder, so there is no local fleet", "Run `spotforge up`.")
        return cls(outputs, outputs_file.absolute(), Path(outputs.state_dir))

    def ensure(self, release: Release) -> tuple[Endpoint, ...]:
        states = self._supervisor.states()
        python = self._python(release.code.image)
        ready = []
        for name in _programs(release):
            state = states.get(name)
            if state is not None and state.dead:
                self._revive(name, release, python, state)
            port = self._port(name)
            self._supervisor.ensure(self._program(name, release, python, port))
            endpoint = Endpoint(ports.HOST, port)
            if gates.ready(endpoint, release.id):
                ready.append(endpoint)
        return tuple(ready)

    def remove(self, release: str) -> None:
        for name in self._supervisor.states():
            if _release_of(name) == release:
                self._supervisor.remove(name)
                self._forget(name)

    def running(self) -> frozenset[str]:
        return frozenset(found for name in self._supervisor.states() if (found := _release_of(name)))

    def _revive(self, name: str, release: Release, python: Path, state: ProgramState) -> None:
        """Start it once more, on another port if that may have been the fault, and say that it failed."""
        why = _last_line(paths.log(self.home, name))
        if time.monotonic() - self._tried.get(name, -AGAIN_S) >= AGAIN_S:
            first = name not in self._tried
            self._tried[name] = time.monotonic()
            if not first:
                if "in use" in why:
                    self._forget(name)
                self._supervisor.ensure(self._program(name, release, python, self._port(name)))
        raise ServerFailed(f"the server of {release.id} does not start ({state.state}): {why}", f"See `spotforge logs {name}`.")

    def _program(self, name: str, release: Release, python: Path, port: int) -> Program:
        command = (str(python), "-m", "pipelines.serving.server", "--release", release.id, "--port", str(port))
        # Any folder but the checkout: what runs must come from the image alone.
        return Program(name, (*command, "--outputs", str(self.outputs_file)), {}, self.home, STOP_S)

    def _python(self, image: str) -> Path:
        from pipelines.serving.image import restore

        if image not in self._restored:
            store = self.outputs.object_store
            self._restored[image] = restore(Objects(store, store.buckets.artifacts), image, self.home / "images")
        return self._restored[image]

    def _port(self, name: str) -> int:
        known = self._known_ports()
        if name not in known:
            known[name] = self._free(set(known.values()))
            self._write_ports(known)
        return known[name]

    def _free(self, taken: set[int]) -> int:
        """From the stack's own range, where nothing takes a port by chance; any free one where that is full or unknown."""
        chosen = ports.load(self.home / "ports.json")
        for offset in ports.SERVERS if chosen else ():
            if chosen and chosen.base + offset not in taken and ports.is_free(chosen.base + offset):
                return chosen.base + offset
        return ports.free_port()

    def _forget(self, name: str) -> None:
        known = self._known_ports()
        if known.pop(name, None) is not None:
            self._write_ports(known)

    def _known_ports(self) -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads(self._ports_file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _write_ports(self, known: dict[str, int]) -> None:
        fresh = self._ports_file.with_suffix(".new")
        fresh.write_text(json.dumps(known))
        fresh.replace(self._ports_file)

    @property
    def _ports_file(self) -> Path:
        return self.home / "serving-ports.json"

    @property
    def _supervisor(self) -> Supervisor:
        return Supervisor(self.home)


def _programs(release: Release) -> list[str]:
    """One program a replica; the first has no number."""
    return [f"{PREFIX}{release.id}" + (f"-{number}" if number else "") for number in range(release.serving.replicas)]


def _release_of(program: str) -> str | None:
    if not program.startswith(PREFIX):
        return None
    return "-".join(program.removeprefix(PREFIX).split("-")[:2])


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return "no log"
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no word in its log")
