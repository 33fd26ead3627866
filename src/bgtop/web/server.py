"""The server process: a socket, the loop that reads sources, and uvicorn between them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bgtop.web.guard import Guard
from bgtop.web.listen import Address, bound
from bgworker.values import dataclass

if TYPE_CHECKING:
    import socket

    from starlette.applications import Starlette

    from bgtop.web.hub import Hub

_MOST_CONNECTIONS: Final = 1200
_HEADER_SECONDS: Final = 10.0
"""How long a connection may take until a request on it is whole."""

_LARGEST_HEADERS: Final = 64 * 1024
"""Beyond it nothing is answered but that; the guard, which can say why, draws the line before."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a certificate and its key."""

    certificate: str
    key: str


class PatientProtocol(H11Protocol):
    """Uvicorn's, which waits for ever for a request that never ends; this one does not."""

    _watch: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Somebody has connected."""
        super().connection_made(transport)
        if len(self.connections) > _MOST_CONNECTIONS:
            transport.abort()
            return
        self._idle_since = self.loop.time()
        self._watch = self.loop.call_later(_HEADER_SECONDS / 2, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Somebody has gone."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """A request was answered; the next one has as long."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        cycle: Any = self.cycle  # none before the first request
        busy = cycle is not None and not cycle.response_complete
        now = self.loop.time()
        if busy:
            self._idle_since = now
        elif now - self._idle_since > _HEADER_SECONDS:
            self.transport.abort()
            return
        self._watch = self.loop.call_later(_HEADER_SECONDS / 2, self._look)


class _Server(uvicorn.Server):
    """Leaves signals to us: what is open has to be closed in our order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing about signals."""
        yield


def serve(
    app: Starlette,
    hub: Hub,
    address: Address,
    *,
    tls: Tls | None,
    any_host: bool,
    report: Callable[[str], None],
    ready: Callable[[str], None],
) -> None:
    """Answer requests until a signal ends it; raises ``OSError`` where it cannot listen.

    ``ready`` is told where it listens.
    """
    hosts = None if any_host or address.path is not None or not address.local else address.hosts
    sock = bound(address)
    try:
        config = uvicorn.Config(
            Guard(app, hosts=hosts, report=report),
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=_LARGEST_HEADERS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        asyncio.run(_serve(_Server(config), hub, sock, lambda: ready(_shown(address, sock))))
    finally:
        sock.close()
        if address.path is not None and os.path.exists(address.path):
            os.unlink(address.path)


async def _serve(
    server: uvicorn.Server, hub: Hub, sock: socket.socket, ready: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        hub.close()
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    watching = loop.create_task(hub.run())
    ready()
    try:
        await server.serve(sockets=[sock])
    finally:
        watching.cancel()


def _shown(address: Address, sock: socket.socket) -> str:
    """The address with the port that was chosen, where any would do."""
    if address.path is not None:
        return str(address)
    return str(Address(address.host, sock.getsockname()[1]))
