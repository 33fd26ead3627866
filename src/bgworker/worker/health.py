"""The supervisor's side of ``--health``: a port, and a process of its own that answers there.

The answers have to be true while the supervisor is stopped or hangs, and no client may hold it up:
so it only holds the port, from before the application is imported until the worker has ended.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

from bgworker.errors import BgWorkerError
from bgworker.log import Log

SERVER_FD = 198
"""The port, as the process that answers there finds it."""
_NOT_FOR_IT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Sent to a whole group they are meant for the worker, which needs its port until it has ended."""
_BACKLOG = 64
Spare: TypeAlias = Callable[[int, int], None]
_TOO_SOON = 2.0
"""Seconds: a server that ends sooner would only do it again."""


def listen_address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPV6]:PORT``, taken apart.

    Raises:
        ValueError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    good_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if not (colon and host and good_port and host.isprintable()) or (":" in host) != bracketed:
        raise ValueError(f"{text[:80]!r} must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return host, int(port)


class HealthPort:
    """A port that is taken, and the process that answers there."""

    def __init__(self, host: str, port: int) -> None:
        """Take the port; raises :class:`BgWorkerError` if that cannot be."""
        self._socket = _listen(host, port)
        self._arguments: list[str] = []
        self._pid: int | None = None
        self._pidfd = -1
        self._began = 0.0

    def start(self, path: str, worker: str) -> None:
        """Have a process answer for this worker of the queue in ``path``."""
        program = "bgworker.worker.health_server"
        self._arguments = [sys.executable, "-m", program, path, worker, str(os.getpid())]
        self._spawn()

    def watch(self, selector: selectors.BaseSelector, log: Log, spare: Spare) -> None:
        """Start the process anew when it dies; to be called after :meth:`start`.

        ``spare`` is told the new process and the one it replaces.
        """
        selector.register(
            self._pidfd, selectors.EVENT_READ, lambda: self._replace(selector, log, spare)
        )

    def close(self) -> None:
        """End the process and give the port back."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._bury()
        self._socket.close()

    def _replace(self, selector: selectors.BaseSelector, log: Log, spare: Spare) -> None:
        selector.unregister(self._pidfd)
        dead = self._bury()
        again = time.monotonic() - self._began > _TOO_SOON
        log.emit("health_lost", detail=None if again else "it is not started again")
        if again:
            spare(self._spawn(), dead)
            self.watch(selector, log, spare)

    def _spawn(self) -> int:
        actions = [(os.POSIX_SPAWN_DUP2, self._socket.fileno(), SERVER_FD)]
        self._pid = os.posix_spawn(
            sys.executable,
            self._arguments,
            os.environ,
            file_actions=actions,
            setsigmask=_NOT_FOR_IT,
        )
        self._pidfd = os.pidfd_open(self._pid)
        self._began = time.monotonic()
        return self._pid

    def _bury(self) -> int:
        """The process that is no more; 0 if there was none."""
        dead, self._pid = self._pid or 0, None
        if dead:
            with contextlib.suppress(ChildProcessError):  # reaped with what tasks left behind
                os.waitpid(dead, 0)
            os.close(self._pidfd)
        return dead


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BgWorkerError(f"--health: cannot listen on {host} port {port}: {why}") from None
    return listening
