"""``/metrics`` for Prometheus and everything that scrapes like it; needs ``prometheus-client``.

A scrape is answered from the newest frame, by a thread of its own. No broker is asked, so however
many scrape costs it nothing.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from bgtop import __version__
from bgtop.contracts import ExporterPlugin
from bgtop.exporters.addresses import Address, address_of
from bgtop.state.measures import OWN, Family
from bgtop.state.peer_measures import BY_TASK, PEERS, SPECS, Peers
from bgtop.state.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.core import Metric

    from bgtop.contracts import ExportSettings
    from bgtop.model import Frame

    _Start = Callable[..., Any]
    _Application = Callable[[dict[str, Any], _Start], Iterable[bytes]]

PORT: Final = 9540
_SILENT: Final = 10.0
"""Seconds a client may say nothing, or not read."""

_CONNECTIONS: Final = 32
"""At a time: when more come, the oldest makes room."""

_LIVELY: Final = 60.0
"""Seconds without a frame after which ``/healthz`` says that something is wrong with us."""


class FrameCollector:
    """Tells the newest frame to a registry of ``prometheus_client``."""

    def __init__(self, settings: ExportSettings) -> None:
        self._settings = settings
        self._telling = Telling(len(BY_TASK.intersection(settings.compat)))
        self._peers = Peers(settings.compat, self._telling)
        self._frame: Frame | None = None
        self._lock = Lock()  # scrapes come in threads of their own
        self.taken_at: float | None = None
        """When the newest frame came, by a clock that never goes back."""

    def take(self, frame: Frame) -> None:
        """This is the newest."""
        with self._lock:
            self._frame = frame
            self._telling.take(frame)
            self._peers.take(frame)
            self.taken_at = time.monotonic()

    def describe(self) -> Iterable[Metric]:
        """All there may be, so that a part can be asked for by name."""
        from bgtop.exporters.exposition import metric_of

        specs = [*OWN, *(spec for name in self._settings.compat for spec in SPECS[name])]
        return [metric_of(Family(spec, ())) for spec in specs]

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        from bgtop.exporters.exposition import metric_of

        with self._lock:
            if self._frame is None:
                return
            now = datetime.now(timezone.utc)
            raw = self._telling.raw(now, self._settings.dropped(), __version__)
            families = self._telling.bounded(raw)
            families += self._peers.families(self._frame, now)
        for family in families:
            yield metric_of(family)


class PrometheusExporter:
    """Implements :class:`bgtop.contracts.Exporter`: serves what it was given last."""

    dropped = 0
    trouble = None

    def __init__(self, address: Address, settings: ExportSettings) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

        self._collector = FrameCollector(settings)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._collector)
        ProcessCollector(registry=registry)
        self._server = _listening(address)
        self._server.set_app(_Site(self._collector, make_wsgi_app(registry)))
        Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def export(self, frame: Frame, /) -> None:
        """Serve this one from now on."""
        self._collector.take(frame)

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()


class Page:
    """Implements :class:`bgtop.contracts.MetricsPage`."""

    def __init__(self, settings: ExportSettings) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        check_compat(settings.compat)
        self._collector = FrameCollector(settings)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)

    def take(self, frame: Frame, /) -> None:
        """Tell of this one from now on."""
        self._collector.take(frame)

    def text(self, accept: str, /) -> tuple[str, bytes]:
        """The page as Prometheus reads it, or as OpenMetrics where that is accepted."""
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(accept)
        return kind, encode(self._registry)


class _Site:
    """The application: ``/metrics`` by the library, ``/healthz``, and nothing else."""

    def __init__(self, collector: FrameCollector, metrics: _Application) -> None:
        self._collector, self._metrics = collector, metrics

    def __call__(self, environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _said(start, "405 Method Not Allowed", "only GET and HEAD")
        if path == "/metrics":
            return self._metrics(environ, start)
        if path == "/healthz":
            return self._health(start)
        if path == "/":
            return _said(start, "200 OK", "bgtop export: /metrics, /healthz")
        return _said(start, "404 Not Found", "not here: /metrics, /healthz")

    def _health(self, start: _Start) -> Iterable[bytes]:
        taken_at = self._collector.taken_at
        if taken_at is None or time.monotonic() - taken_at > _LIVELY:
            return _said(start, "503 Service Unavailable", "no frame for a minute")
        return _said(start, "200 OK", "ok")


def _said(start: _Start, status: str, words: str) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{words}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, of which there are few and none lasts long."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: Address, family: socket.AddressFamily) -> None:
        self.address_family = family
        self._open: dict[Any, None] = {}
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of our own name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """When there is no room left, the oldest connection makes some."""
        for oldest in list(self._open)[: max(0, len(self._open) - _CONNECTIONS + 1)]:
            self._open.pop(oldest, None)
            with contextlib.suppress(OSError):  # it has ended meanwhile
                oldest.shutdown(socket.SHUT_RDWR)
        self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is nothing to speak of."""


class _Answer(ServerHandler):
    """The library's, with no word on standard error about clients that go away."""

    def log_exception(self, exc_info: Any) -> None:
        if exc_info and not issubclass(exc_info[0], OSError):
            super().log_exception(exc_info)


class _Handler(WSGIRequestHandler):
    timeout = _SILENT

    def handle(self) -> None:
        """One request; like the library's, but for who writes the answer."""
        with contextlib.suppress(OSError):  # silent for too long, or gone
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
            elif self.parse_request():
                answer = _Answer(
                    self.rfile,
                    self.wfile,  # type: ignore[arg-type]
                    self.get_stderr(),
                    self.get_environ(),
                    multithread=True,
                )
                answer.request_handler = self  # type: ignore[attr-defined]
                answer.run(self.server.get_app())  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Who scrapes is not written down."""


def _listening(address: Address) -> _Server:
    family, *_ = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return _Server(address, family)


def check_compat(names: Iterable[str]) -> None:
    """Raises ``ValueError`` for names of exporters nobody knows."""
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise ValueError(f"--compat: {unknown[0]!r} is none of {', '.join(PEERS)}")


def _open(text: str, settings: ExportSettings) -> PrometheusExporter:
    check_compat(settings.compat)
    address = address_of(text, kind="tcp", port=PORT, kinds=("tcp",))
    return PrometheusExporter(address, settings)


plugin = ExporterPlugin(
    name="prometheus",
    summary="/metrics for Prometheus, on HOST:PORT",
    open=_open,
    page=Page,
    requires="pip install 'bgtop[metrics]'",
)
