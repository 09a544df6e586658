"""The language host, in this process: it runs the main file that Pulumi.yaml names, as often as the engine asks.

In this process, so that SDKs of megabytes are imported once and not once an operation; the SDK keeps a run's state to itself.
"""

import runpy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # no types are installed
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc


class Host(LanguageServer):
    """Modules that the main file imports are this checkout's, not the copy's: only the main file and the stack file are copied.

    The working directory stays the tests': a program builds its paths from `__file__`.
    """

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def Handshake(self, request: Any, context: Any) -> Any:
        return language_pb2.LanguageHandshakeResponse()

    def Run(self, request: Any, context: Any) -> Any:
        main = Path(request.info.program_directory) / request.info.entry_point

        def program() -> None:
            runpy.run_path(str(main), run_name="__main__")

        return LanguageServer(program).Run(request, context)  # type: ignore[no-untyped-call]  # the SDK types it not


@contextmanager
def serve() -> Iterator[int]:
    """A language host on a free port of 127.0.0.1, to name in PULUMI_DEBUG_LANGUAGES as `python:PORT`."""
    server = grpc.server(ThreadPoolExecutor(4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None).wait()
