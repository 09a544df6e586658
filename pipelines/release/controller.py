"""The release controller's process: `python -m pipelines.release.controller --outputs FILE`.

It ticks, says what it sees in `controller.json` of the state folder, and ends on SIGTERM. What a tick does is `control`.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.model import load_model
from pipelines.objects import Objects
from pipelines.release import gates
from pipelines.release.control import WHO, Controller
from pipelines.release.evidence import Evidence
from pipelines.release.ledger import Ledger
from pipelines.release.platform import Endpoint
from pipelines.release.policy import ReleasePolicy
from pipelines.release.record import Release
from pipelines.tables import Tables
from stacks.errors import UserError
from stacks.outputs import StackOutputs

logger = logging.getLogger(WHO)


def run(controller: Controller, status_file: Path, stop: threading.Event) -> None:
    """Tick until told to stop. Nothing ends the loop but that: what goes wrong is said once, and tried again."""
    said: list[str] = []
    while not stop.is_set():
        moved, problems = False, []
        try:
            moved = controller.tick()
            problems = list(controller.status["problems"])
        except UserError as error:
            problems = [str(error)]
        except Exception as error:
            problems = [f"{type(error).__name__}: {error}"]
            if problems != said:
                logger.exception("a look failed; it is tried again")
        try:
            at = {"at": datetime.now(UTC).isoformat(), "pid": os.getpid()}
            _write_status(status_file, at | controller.status | {"problems": problems})
        except OSError as error:
            problems.append(f"{status_file} cannot be written ({error.strerror})")
        for problem in problems:
            if problem not in said:
                logger.warning("%s", problem)
        said = problems
        if not moved:
            stop.wait(controller.policy.tick_s)


def _write_status(path: Path, status: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(status, indent=1, default=str))
    fresh.replace(path)


def local(outputs: StackOutputs, outputs_file: Path, home: Path) -> Controller:
    """A controller of the local stack: Envoy and processes."""
    from pipelines.release.fleet_local import LocalFleet
    from pipelines.release.gateway_envoy import EnvoyGateway
    from pipelines.serving.package import Package

    store, buckets = outputs.object_store, outputs.object_store.buckets
    artifacts = Objects(store, buckets.artifacts)

    def smoke(release: Release, endpoints: tuple[Endpoint, ...]) -> gates.Smoke:
        return gates.smoke(release, Package.load(artifacts, release.model.package), endpoints)

    return Controller(
        ledger=Ledger.of(outputs),
        gateway=EnvoyGateway(outputs),
        fleet=LocalFleet.of(outputs, outputs_file),
        releases=Objects(store, buckets.ledger),
        smoke=smoke,
        evidence=partial(Evidence, Tables(outputs)),
        model=load_model(outputs.model),
        folder=home / "canary",
        policy=ReleasePolicy.load(home / "release-policy.json"),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the controller of a stack until SIGTERM or SIGINT. The servers and the routes stay as they are."""
    from filelock import FileLock, Timeout

    parser = argparse.ArgumentParser(prog="pipelines.release.controller", description="Move releases to production, or back.")
    parser.add_argument("--outputs", type=Path, required=True, help="StackOutputs JSON")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logger.setLevel(logging.INFO)
    try:
        outputs = StackOutputs.load(chosen.outputs)
        if outputs.platform != "local" or outputs.state_dir is None:
            raise UserError("there is a controller for the local platform only", "Start it with a local stack's outputs.")
        home = Path(outputs.state_dir)
        with FileLock(home / "controller.lock", timeout=0, mode=0o600):
            stop = threading.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            run(local(outputs, chosen.outputs, home), home / "controller.json", stop)
    except Timeout:
        sys.stderr.write(f"another release controller runs on {home}. Stop it first, or let it do the work.\n")
        return 1
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
