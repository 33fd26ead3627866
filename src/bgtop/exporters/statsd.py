"""Numbers for StatsD, Bucky, Telegraf, the Datadog agent: by UDP, TCP or a Unix datagram socket.

A count is sent as what was added since the last datagram that got through, as far as the kernel
tells: a closed port is noticed, a datagram lost on the way is not.
"""

from __future__ import annotations

import socket
import time
from datetime import datetime, timezone
from select import POLLERR, POLLHUP, poll
from threading import Lock
from typing import TYPE_CHECKING, Final

from bgtop import __version__
from bgtop.contracts import ExporterPlugin
from bgtop.exporters.addresses import Address, address_of, connected, words_of
from bgtop.exporters.names import TAGS, Naming, checked_prefix
from bgtop.exporters.sending import Courier
from bgtop.exporters.statsd_lines import (
    UDP_BYTES,
    UNIX_BYTES,
    Accounts,
    Datagram,
    Line,
    datagrams,
)
from bgtop.state.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgtop.contracts import ExportSettings
    from bgtop.model import Frame

PORT: Final = 8125
_PATIENCE: Final = 3.0
"""Seconds for connecting, and for one call that sends."""

_ERRORS_COME_WITHIN: Final = 0.1
"""Seconds after the last datagram in which a host near by says that nobody listens."""

_AT_ONCE: Final = 32
_BREATH: Final = 0.01
"""So many datagrams, then a pause so long: a receiver has room for about a hundred."""


class StatsdExporter:
    """Implements :class:`bgtop.contracts.Exporter`."""

    def __init__(self, address: Address, settings: ExportSettings) -> None:
        self._address, self._settings = address, settings
        self._naming = Naming(settings.prefix, settings.tags)
        self._telling = Telling()
        self._accounts = Accounts()
        self._lock = Lock()
        self._fresh = False
        self._dropped = 0
        self._courier = Courier("statsd", self._send)

    @property
    def dropped(self) -> int:
        """Values of gauges that did not get through; counts are sent later."""
        return self._dropped

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through at present."""
        return self._courier.trouble

    def export(self, frame: Frame, /) -> None:
        """Send this one next."""
        with self._lock:
            self._telling.take(frame)
            self._fresh = True
        self._courier.ring()

    def close(self) -> None:
        """Send what is left."""
        self._courier.close()

    def _send(self) -> str | None:
        with self._lock:
            if not self._fresh:
                return None
            lines = list(self._lines())
        most = UDP_BYTES if self._address.kind == "udp" else UNIX_BYTES
        left = list(datagrams(lines, most))
        left.reverse()
        try:
            with connected(self._address, _PATIENCE) as link:
                if self._address.kind == "tcp":
                    self._stream(link, left)
                else:
                    self._datagrams(link, left)
        except OSError as error:
            self._dropped += sum(each.lost for each in left)
            return f"{self._address}: {words_of(error)}"
        return None

    def _lines(self) -> Iterator[Line]:
        telling = self._telling
        now = datetime.now(timezone.utc)
        keys = telling.keys_by_label()
        raw = telling.raw(now, self._settings.dropped(), __version__)
        return self._accounts.lines(
            raw, self._naming, lambda spec, labels: telling.relabel(spec, labels, keys)
        )

    def _datagrams(self, link: socket.socket, left: list[Datagram]) -> None:
        """The last one of ``left`` first; those that got through are taken off it."""
        unsure: Datagram | None = None
        for number in range(len(left)):
            if number % _AT_ONCE == _AT_ONCE - 1:
                time.sleep(_BREATH)
            # That nobody listened to the one before is what this call fails with.
            link.send(left[-2 if unsure else -1].data)
            if unsure:
                self._settle(left.pop())
            unsure = left[-1]
        errors = poll()
        errors.register(link, 0)
        if any(seen & (POLLERR | POLLHUP) for _, seen in errors.poll(_ERRORS_COME_WITHIN * 1000)):
            raise OSError(link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "nobody listens")
        if unsure:
            self._settle(left.pop())

    def _stream(self, link: socket.socket, left: list[Datagram]) -> None:
        """All at once; who has read to the end closes, and that is how we know."""
        for each in reversed(left):
            link.sendall(each.data + b"\n")
        finished(link)
        while left:
            self._settle(left.pop())

    def _settle(self, sent: Datagram) -> None:
        for line in sent.settling:
            self._accounts.settle(line)


def finished(link: socket.socket) -> None:
    """Say that this was all, and wait until it was read; raises ``OSError`` if it was not.

    A receiver that does not close its side has to be believed.
    """
    link.shutdown(socket.SHUT_WR)
    try:
        while link.recv(4096):
            pass
    except TimeoutError:
        return


def _open(text: str, settings: ExportSettings) -> StatsdExporter:
    if settings.tags not in {None, *TAGS}:
        raise ValueError(f"--tags: {settings.tags!r} is none of {', '.join(TAGS)}")
    checked_prefix(settings.prefix)
    address = address_of(text, kind="udp", port=PORT, kinds=("udp", "tcp", "unix"))
    return StatsdExporter(address, settings)


plugin = ExporterPlugin(
    name="statsd",
    summary="StatsD and its relatives, at HOST:PORT (UDP), tcp://HOST:PORT or unix:PATH",
    open=_open,
)
