"""Numbers for StatsD, Bucky, Telegraf, the Datadog agent: by UDP, TCP or a Unix socket.

A count is sent as what was added since the last datagram that got through, as far as the kernel
tells: a closed port is noticed, a datagram lost on the way is not.
"""

from __future__ import annotations

import socket
import time
from select import POLLERR, POLLHUP, poll
from typing import TYPE_CHECKING, Final

from bgtop.contracts import ExporterPlugin
from bgtop.exporters.addresses import Address, address_of, connected, words_of
from bgtop.exporters.names import TAGS, Naming, checked_prefix
from bgtop.exporters.sending import Sender
from bgtop.exporters.statsd_lines import (
    UDP_BYTES,
    UNIX_BYTES,
    Accounts,
    Datagram,
    Line,
    datagrams,
)

if TYPE_CHECKING:
    from bgtop.contracts import ExportSettings

PORT: Final = 8125
_PATIENCE: Final = 3.0
"""Seconds for connecting, and for one call that sends."""

_ERRORS_COME_WITHIN: Final = 0.1
"""Seconds after the last datagram in which a host near by says that nobody listens."""

_AT_ONCE: Final = 32
_BREATH: Final = 0.01
"""So many datagrams, then a pause so long: a receiver has room for about a hundred."""


class StatsdExporter(Sender):
    """Counts that did not get through are sent later; ``dropped`` are values of gauges."""

    def __init__(self, address: Address, settings: ExportSettings) -> None:
        super().__init__("statsd", settings)
        self._address = address
        self._naming = Naming(settings.prefix, settings.tags)
        self._accounts = Accounts()

    def _send(self) -> str | None:
        with self._lock:
            lines = self._lines()
        if not lines:
            return None
        most = UDP_BYTES if self._address.kind == "udp" else UNIX_BYTES
        left = list(datagrams(lines, most))
        left.reverse()
        try:
            with connected(self._address, _PATIENCE) as link:
                if link.type == socket.SOCK_STREAM:
                    self._stream(link, left)
                else:
                    self._datagrams(link, left)
        except OSError as error:
            self._dropped += sum(each.lost for each in left)
            return f"{self._address}: {words_of(error)}"
        return None

    def _lines(self) -> list[Line]:
        return [*self._accounts.lines(self._told(), self._naming, self._telling.relabel)]

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
