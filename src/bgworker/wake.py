"""Doorbells: a datagram about a commit wakes the others in 0.1 ms, and idling costs nothing.

Each listener binds a unix socket in a directory; ringing sends one datagram to every socket there.
inotify on the write-ahead log is no replacement: it fires before the commit can be seen.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat

from bgworker.listing import Listing

WORK = b"!"
CANCEL = b"c"
"""A ring that says more: claims are asked for without a look at what is to be stopped."""

_SUN_PATH_MAX = 107  # bytes a unix socket address may have on Linux, without the final NUL


class Doorbell:
    """The listening end. A full buffer loses rings, never the fact that it rang."""

    def __init__(self, directory: str, name: str) -> None:
        self._path = os.path.join(directory, name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        with _address(self._path) as address:
            self._socket.bind(address)
        self._rings = select.poll()
        self._rings.register(self._socket, select.POLLIN)

    def fileno(self) -> int:
        """Readable when it rang."""
        return self._socket.fileno()

    def silence(self) -> bool:
        """Take all rings so far; whether one of them was about a cancellation."""
        asked = False
        with contextlib.suppress(BlockingIOError):
            while self._rings.poll(0):  # to be told of the end by an exception takes longer
                asked = self._socket.recv(16) == CANCEL or asked
        return asked

    def wait(self, timeout: float) -> bool:
        """Whether it rang within ``timeout`` seconds; takes the rings."""
        rang = bool(select.select([self._socket], [], [], max(0.0, timeout))[0])
        if rang:
            self.silence()
        return rang

    def close(self) -> None:
        """Take the bell down."""
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)


class Ringer:
    """Rings every doorbell in a directory."""

    def __init__(self, directory: str) -> None:
        self._listing = Listing(directory)
        self._socket = _sender()
        self._known: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def ring(self, message: bytes = WORK) -> None:
        """Ring; full bells are skipped, those of dead listeners are taken down."""
        for path in self._bells():
            try:
                self._send(path, message)
            except ConnectionRefusedError:
                _take_down(path)
            except OSError:
                continue

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

    def _send(self, path: str, message: bytes) -> None:
        with _address(path) as address:
            try:
                self._socket.sendto(message, address)
            except BlockingIOError:
                # Rings that nobody has taken count against their sender: those of a few stopped
                # listeners would use up what all others need. A new socket begins at nothing.
                self._socket.close()
                self._socket = _sender()
                self._socket.sendto(message, address)

    def _bells(self) -> tuple[str, ...]:
        try:
            names = self._listing.names()
        except OSError:  # the job is stored: that its bells cannot be found is no error now
            return ()
        listed, paths = self._known
        if names is not listed:
            here = self._listing.directory
            paths = tuple(os.path.join(here, name) for name in names if name.endswith(".bell"))
            self._known = names, paths
        return paths


def _sender() -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.setblocking(False)
    return found


def _take_down(path: str) -> None:
    """Remove the bell of a dead listener: names are not reused, so nobody will listen there."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


@contextlib.contextmanager
def _long_address(path: str):  # type: ignore[no-untyped-def]
    """An address by way of an open directory, for paths longer than a socket address may be."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


def _address(path: str) -> contextlib.AbstractContextManager[str]:
    if len(os.fsencode(path)) <= _SUN_PATH_MAX:
        return contextlib.nullcontext(path)
    return _long_address(path)
