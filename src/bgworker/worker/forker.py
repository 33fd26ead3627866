"""The supervisor's side of the zygote: start it, have it fork and kill, hear of deaths."""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

from bgworker.errors import BgWorkerError
from bgworker.model import QueuePolicy, TaskPolicy
from bgworker.retry import policy_from_json
from bgworker.values import asdict, dataclass
from bgworker.worker.frames import CHUNK, CONTROL_FD
from bgworker.worker.lifespan import Lifespan


class AppUnusable(BgWorkerError):
    """The application cannot be imported; ``why`` is its traceback, if it raised."""

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why


class ImporterDied(AppUnusable):
    """The process that imports the application ended before it could say anything."""

    def __init__(self) -> None:
        super().__init__("the process that imports the application died")


def _not_started(error: OSError) -> str:
    too_few = error.errno == errno.EBADF  # no descriptor can have the number of ours
    why = "too few files may be open (ulimit -n)" if too_few else error.strerror
    return f"cannot start the process that imports the application: {why}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the zygote found in the application."""

    url: str
    tasks: tuple[TaskPolicy, ...]
    queues: tuple[QueuePolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Forked:
    """A child began."""

    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A child is gone; ``status`` is as from ``os.waitpid``."""

    slot: int
    pid: int
    status: int


class Forker:
    """A running zygote. ``fileno`` is readable when it has something to tell or has died.

    Tasks that enqueue use the queue of ``url``, if one is given, and not the app's own.
    """

    def __init__(self, spec: str, url: str | None = None, *, quiet: bool = False) -> None:
        """Start it; ``quiet``: what the application prints goes to standard error.

        Raises:
            AppUnusable: the system does not let it start.
        """
        self._spec = spec
        self._url = url
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = [sys.executable, "-m", "bgworker.worker.zygote"]
        arguments = [*program, spec, str(os.getpid()), *([url] if url else [])]
        actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), CONTROL_FD)]
        if quiet:
            actions.append((os.POSIX_SPAWN_DUP2, 2, 1))
        try:
            self.pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=actions)
        except OSError as error:
            self._control.close()
            raise AppUnusable(_not_started(error)) from None
        finally:
            theirs.close()
        self._part = b""
        self._ended = False

    def again(self) -> Forker:
        """Another one, in place of this."""
        return Forker(self._spec, self._url)

    def fileno(self) -> int:
        """For a selector."""
        return self._control.fileno()

    def manifest(self) -> Manifest:
        """Wait until the application is imported.

        Raises:
            ImporterDied: of a signal, or of something that the application did.
            AppUnusable: it is not there, or it raised.
        """
        while (message := self._receive()) is None:
            continue
        if message == {}:
            raise ImporterDied
        if "failed" in message:
            raise AppUnusable(message["failed"], message.get("why", ""))
        return Manifest(
            url=message["url"],
            tasks=tuple(policy_from_json(task) for task in message["tasks"]),
            queues=tuple(QueuePolicy(**queue) for queue in message["queues"]),
        )

    def share(self, board_fd: int, lifespan: Lifespan | None, pool: str) -> None:
        """Give the scoreboard, and with it the proof of life, to zygote and children."""
        lasts = asdict(lifespan) if lifespan else None
        self._send({"board": True, "lifespan": lasts, "pool": pool}, [board_fd])

    def fork(self, slot: int, *fds: int) -> None:
        """Ask for a child with these descriptors, which are closed here."""
        try:
            self._send({"fork": slot}, list(fds))
        finally:
            for fd in fds:
                os.close(fd)

    def kill(self, pid: int) -> None:
        """Have a child and its process group killed."""
        self._send({"kill": pid})

    def news(self) -> Forked | Exited | None:
        """The next thing it tells; raises ``EOFError`` when it has died, ``None`` for a part."""
        message = self._receive()
        if message is None:
            return None
        if not message:
            raise EOFError
        if "forked" in message:
            return Forked(message["slot"], message["forked"])
        return Exited(message["slot"], message["exited"], message["status"])

    def close(self, patience: float = 0.0) -> None:
        """End it, and with it every child that has not left yet, and reap it.

        It has ``patience`` seconds to end everything below it in order.
        """
        if self._ended:
            return
        self._ended = True  # its pid will be anybody's
        self._control.close()
        if patience:
            self._wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _wait(self, seconds: float) -> None:
        pidfd = os.pidfd_open(self.pid)  # not reaped yet, so it is this process
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(pidfd, selectors.EVENT_READ)
                selector.select(seconds)
        finally:
            os.close(pidfd)

    def _send(self, request: dict[str, Any], fds: list[int] | None = None) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # news() will tell
            self._control.sendmsg([json.dumps(request).encode()], rights)

    def _receive(self) -> dict[str, Any] | None:
        """A message; ``{}`` when the zygote has died; ``None`` when parts are still missing."""
        try:
            data = self._control.recv(CHUNK + 1)
        except ConnectionResetError:
            data = b""
        if not data:
            return {}
        self._part += data[1:]
        if data[:1] == b"+":
            return None
        message: dict[str, Any] = json.loads(self._part)
        self._part = b""
        return message
