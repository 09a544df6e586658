"""The plain Pulumi CLI on a copy of a project, with its providers and its language host in this process.

Which operations make up a walk, and what must hold after each, belongs to the tests.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.engine import language, provider, results
from tests.engine.backend import Backend
from tests.engine.faults import Faults
from tests.engine.results import Result
from tests.tools import build

ROOT = Path(__file__).resolve().parents[2]
# What the engine reads of a checkout; `stack init` writes into the stack's file, so it works on copies.
PARTS = ("Pulumi.yaml", "infra", "stacks", "runbooks")
PACK = Path("infra/policy")
# Measured: 3 to 4 s for 15 resources; a whole environment has some hundred, and a machine may be busy with other tests.
SECONDS = 600
TAIL_LINES = 40


class Failed(AssertionError):
    """An operation ended otherwise than asked; the message ends with the CLI's last lines."""


class Project:
    """One stack of one project in a folder of its own. Operations raise Failed unless `fails=True` says that they should."""

    def __init__(self, folder: Path, stack: str, environment: Mapping[str, str], faults: Faults) -> None:
        self.folder = folder
        self.stack = stack
        self.faults = faults
        self._environment = dict(environment)
        self._running: subprocess.Popen[str] | None = None
        self._count = 0

    def preview(self, *, policy: bool = False, fails: bool = False) -> Result:
        return self._operate("preview", *self._policy(policy), fails=fails)

    def up(self, *, policy: bool = False, fails: bool = False) -> Result:
        return self._operate("up", "--yes", "--skip-preview", *self._policy(policy), fails=fails)

    def refresh(self, *, fails: bool = False) -> Result:
        return self._operate("refresh", "--yes", "--skip-preview", fails=fails)

    def destroy(self, *, fails: bool = False) -> Result:
        return self._operate("destroy", "--yes", "--skip-preview", fails=fails)

    def import_(self, kind: str, name: str, id: str, *, protect: bool = True, options: tuple[str, ...] = ()) -> Result:
        """Adopt what exists under `id`; `options` name its parent or provider as the CLI wants them (`--provider name=urn`)."""
        code = ("--generate-code=false", f"--protect={str(protect).lower()}")
        return self._operate("import", kind, name, id, "--yes", "--skip-preview", *code, *options, fails=False)

    def export(self) -> dict[str, Any]:
        """The stack's state."""
        state: dict[str, Any] = json.loads(self.run("stack", "export", "--stack", self.stack))
        return state

    def resources(self) -> list[dict[str, Any]]:
        return list(self.export()["deployment"].get("resources") or [])

    def outputs(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.run("stack", "output", "--stack", self.stack, "--json", "--show-secrets"))
        return values

    def urn(self, name: str) -> str:
        """The one URN that ends in `::name`."""
        (found,) = [item["urn"] for item in self.resources() if item["urn"].endswith(f"::{name}")]
        return str(found)

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the copy's stack file: `change` gets its `config` mapping and alters it in place."""
        path = self.folder / "stacks" / f"Pulumi.{self.stack}.yaml"
        document = yaml.safe_load(path.read_text())
        change(document["config"])
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def interrupt(self) -> None:
        """What Ctrl-C does to the operation that runs now; safe to call from a `Faults.before` hook."""
        if self._running:
            self._running.send_signal(signal.SIGINT)

    def run(self, *arguments: str) -> str:
        """Any other command of the CLI; its standard output. Raises Failed."""
        done = subprocess.run(
            [str(build.path("pulumi")), *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        if done.returncode:
            raise Failed(f"pulumi {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _policy(self, policy: bool) -> tuple[str, ...]:
        return ("--policy-pack", str(PACK)) if policy else ()

    def _operate(self, command: str, *arguments: str, fails: bool) -> Result:
        self._count += 1
        log = self.folder / f"events-{self._count}-{command}.json"
        line = [str(build.path("pulumi")), command, *arguments, "--stack", self.stack, "--event-log", str(log)]
        started = time.monotonic()
        code, output = self._execute([*line, "--non-interactive", "--color", "never"])
        tail = "\n".join(output.splitlines()[-TAIL_LINES:])
        result = results.read(log, code=code, seconds=time.monotonic() - started, tail=tail)
        if (code != 0) != fails:
            what = "succeeded, which it should not have" if fails else f"exited with {code}"
            raise Failed(f"pulumi {command} {what}; the end of what it said:\n{tail}")
        return result

    def _execute(self, command: list[str]) -> tuple[int, str]:
        # A session of its own: Ctrl-C goes to the tests alone, which then stop it.
        self._running = process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            output, _ = process.communicate()
            tail = "\n".join(output.splitlines()[-TAIL_LINES:])
            raise Failed(f"{' '.join(command[1:3])} still ran after {SECONDS} s; the end of what it said:\n{tail}") from error
        finally:
            self._running = None
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode, output


@contextlib.contextmanager
def project(
    folder: Path, stack: str, backends: Mapping[str, Backend], *, source: Path = ROOT, faults: Faults | None = None
) -> Iterator[Project]:
    """A fresh stack on a copy of `source`, each package (`aws`, `kubernetes`) served by its backend. Raises build.Missing."""
    build.path("pulumi")
    faults = faults or Faults()
    with contextlib.ExitStack() as servers:
        ports = {name: servers.enter_context(provider.serve(backend, faults)) for name, backend in backends.items()}
        host = servers.enter_context(language.serve())
        copy = _copy(source, folder / "project")
        made = Project(copy, stack, environment(folder, ports, host), faults)
        made.run("stack", "init", stack, "--secrets-provider", "passphrase")
        yield made


def environment(folder: Path, providers: Mapping[str, int], host: int) -> dict[str, str]:
    """What the CLI needs to find everything in `folder` and in this process, and nothing of the person's own."""
    tools = folder / "tools"
    tools.mkdir()
    wrapper = tools / "pulumi-analyzer-policy-python"
    # The engine runs policy packs through a program of this name; the packs import this checkout.
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m pulumi.policy "$1" "$2"\n')
    wrapper.chmod(0o755)
    state = folder / "state"
    state.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "AWS_", "KUBE"))}
    return {
        **kept,
        "PATH": f"{tools}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "engine-tier",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
        # Only then does the CLI know --event-log.
        "PULUMI_DEBUG_COMMANDS": "1",
        "PULUMI_DEBUG_PROVIDERS": ",".join(f"{name}:{port}" for name, port in providers.items()),
        "PULUMI_DEBUG_LANGUAGES": f"python:{host}",
    }


def _copy(source: Path, target: Path) -> Path:
    for part in PARTS if source == ROOT else sorted(path.name for path in source.iterdir()):
        origin = source / part
        if origin.is_dir():
            shutil.copytree(origin, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif origin.exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, target / part)
    return target
