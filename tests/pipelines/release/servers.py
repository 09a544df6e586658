"""Tiny model servers for the gateway's tests: they answer who they are, fail, stall or are gone, as told."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from pipelines.release.platform import Endpoint

HOST = "127.0.0.1"


@dataclass
class TinyServer:
    """One release's server; `mode` is ok, error or stall."""

    release: str
    mode: str = "ok"
    delay_s: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _runner: web.AppRunner | None = None
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(HOST, self.port)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, keepalive_timeout=3600, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self._freed.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen["shadow" if "-shadow" in request.headers.get("host", "") else "live"] += 1
        if self.mode == "stall":
            await self._freed.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        status = 500 if self.mode == "error" else 200
        return web.json_response({"release": self.release}, status=status)


@dataclass
class Servers:
    """Runs tiny servers in a thread of their own, so that a test's load does not wait for them."""

    loop: asyncio.AbstractEventLoop
    all: list[TinyServer] = field(default_factory=list)

    def start(self, release: str, **how: object) -> TinyServer:
        server = TinyServer(release, **how)  # type: ignore[arg-type]
        asyncio.run_coroutine_threadsafe(server.start(), self.loop).result(5)
        self.all.append(server)
        return server

    def stop(self, server: TinyServer) -> None:
        asyncio.run_coroutine_threadsafe(server.stop(), self.loop).result(5)


@contextmanager
def serving() -> Iterator[Servers]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = Servers(loop)
    try:
        yield servers
    finally:
        for server in servers.all:
            servers.stop(server)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
