"""The model server: one process, one release. `python -m pipelines.serving.server --release ID --port P --outputs FILE`.

Everything it answers with comes from the release's record and package; it refuses to start when they do not agree.
"""

import argparse
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.objects import Objects
from pipelines.serving import package, tree
from pipelines.tables import Tables
from stacks.errors import UserError
from stacks.outputs import StackOutputs

if TYPE_CHECKING:
    from pipelines.release.record import Release
    from pipelines.serving.app import App
    from pipelines.serving.prediction_log import PredictionLog

HOST = "127.0.0.1"
# Longer than a gateway keeps an idle connection (Envoy: one hour): the side that closes first must be the one that sends.
KEEP_ALIVE_S = 7200
# Together under 5 s: the last answers take milliseconds, the last append a good deal less than three seconds.
DRAIN_S = 1
FLUSH_S = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0 after a graceful stop, 1 with one line on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="pipelines.serving.server", description="Serve one release.")
    parser.add_argument("--release", required=True, help="id of the release record")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default=HOST, help="address to bind; loopback unless the network is guarded by other means")
    parser.add_argument("--outputs", type=Path, help="StackOutputs JSON (default: $SPOTFORGE_OUTPUTS)")
    chosen = parser.parse_args(arguments)
    # numpy's BLAS starts a thread a core when imported; nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        outputs = StackOutputs.load(chosen.outputs)
        bound = _bind(chosen.host, chosen.port)
        return serve(outputs, chosen.release, bound)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def serve(outputs: StackOutputs, identity: str, bound: socket.socket) -> int:
    """Load release `identity`, answer on `bound` until told to stop, write the log; the exit code. Raises UserError."""
    from pipelines.release import record

    store = outputs.object_store
    release = record.load(Objects(store, store.buckets.ledger), identity)
    packaged = package.load(Objects(store, store.buckets.artifacts), release.model.package)
    app, log = assemble(outputs, release, packaged)
    # What was loaded lives as long as the process: keep the collector from walking it again and again.
    gc.collect()
    gc.freeze()
    try:
        bound.listen()
    except OSError as error:
        raise _unbound(error, *bound.getsockname()) from error
    sys.stderr.write(f"release {identity} is served on http://{':'.join(map(str, bound.getsockname()))}\n")
    _run(app, bound)
    lost = log.close(FLUSH_S)
    if lost:
        sys.stderr.write(f"release {identity}: {lost} predictions could not be logged before the end\n")
    return 0


def assemble(outputs: StackOutputs, release: "Release", packaged: package.Package) -> "tuple[App, PredictionLog]":
    """The application and its running log. Raises UserError when record, package and running image do not agree."""
    from pipelines.serving.app import App, Identity
    from pipelines.serving.metrics import Metrics
    from pipelines.serving.prediction_log import PredictionLog
    from pipelines.serving.scorer import Scorer

    if packaged.digest != release.model.digest:
        raise UserError(
            f"release {release.id} names model {release.model.digest[:12]}, its package holds {packaged.digest[:12]}",
            "The package was altered after the release was made; make a new release.",
        )
    image = tree.image_digest()
    if image is not None and image != release.code.image:
        raise UserError(
            f"release {release.id} names image {release.code.image[:19]}, this server runs in {image[:19]}",
            "Start it with the python of its own image.",
        )
    signature = packaged.signature
    scorer = Scorer(packaged)
    log = PredictionLog(Tables(outputs), signature, release.id, flush_s=release.serving.log_flush_s)
    metrics = Metrics(release=release.id, model=packaged.digest, image=image or "", pending=log.pending)
    identity = Identity(
        release=release.id,
        model=signature.model,
        model_digest=packaged.digest,
        image_digest=image,
        code_digest=tree.code_digest(),
    )
    log.start(metrics)
    return App(identity, signature, scorer, log, metrics, threads=release.serving.threads), log


def _run(app: "App", bound: socket.socket) -> None:
    """Answer until a signal; returns when the last answer is sent."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn's own raises the signal again after its shutdown: the process would end by it, before the log is written.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)
            yield

    Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
    ).run(sockets=[bound])


def _bind(host: str, port: int) -> socket.socket:
    """Claim the address before the slow part; nobody is let in until `listen`."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _unbound(error, host, port) from error
    return bound


def _unbound(error: OSError, host: str, port: int, *_: object) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"port {port} on {host} is in use", f"Stop what uses it (`ss -ltnp sport = :{port}`), or choose another."
        )
    return UserError(f"cannot listen on {host} port {port} ({error.strerror})", "Choose another address or port.")


if __name__ == "__main__":
    sys.exit(main())
