"""Answers ``/healthz`` and ``/metrics`` for one worker: a program of its own.

It shares nothing with the worker but its files, which it only reads, and ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bgworker.engines.sqlite.locks import QueueFiles
from bgworker.errors import BgWorkerError, QueueUnavailable
from bgworker.inspector import Inspector, Stats
from bgworker.log import complain
from bgworker.scoreboard import Board, read_board
from bgworker.worker.health import SERVER_FD
from bgworker.worker.kin import die_with
from bgworker.worker.pulse import Pulse

_FRESH = 1.0
"""Seconds for which one look at the database answers everybody."""
_READ_WITHIN = 3.0
"""Seconds a request waits for a look that somebody else is taking."""
_LOOK_EVERY = 0.5
"""Seconds between two looks at the scoreboard."""
_CONNECTIONS = 32
_CUT_OFF_AFTER = 10.0
"""Seconds a connection may last, whatever its client does."""
_SILENT = 5.0
"""Seconds a client may be silent."""
_NO_LIBRARY = "metrics need a library that is not installed: pip install 'bgtop[metrics]'"


class Subject:
    """The worker that is asked about. Safe to use from any thread."""

    def __init__(self, path: str, worker: str) -> None:
        self.worker = worker
        self._path = os.path.realpath(path)
        self._life = QueueFiles(self._path).life(worker)
        self._inspector = Inspector(path)
        self._pulse = Pulse()
        self._turn = threading.Lock()
        self._looking = threading.Lock()
        self._stats: Stats | BgWorkerError | None = None
        self._stats_until = 0.0

    def look(self) -> Board | None:
        """One look at the scoreboard."""
        with self._looking:
            board = read_board(self._life)
            self._pulse.look(board, time.monotonic())
            return board

    def stats(self) -> Stats:
        """What the database says, at most a second old; raises :class:`BgWorkerError`."""
        if not self._turn.acquire(timeout=_READ_WITHIN):
            raise QueueUnavailable(f"{self._path} has not answered for {_READ_WITHIN:g} s")
        try:
            if self._stats is None or time.monotonic() >= self._stats_until:
                self._stats = self._read()
                self._stats_until = time.monotonic() + _FRESH
            found = self._stats
        finally:
            self._turn.release()
        if isinstance(found, BgWorkerError):
            raise found
        return found

    def health(self) -> dict[str, Any]:
        """That it is well; raises :class:`BgWorkerError`, which says in a sentence why not."""
        board = self.look()
        now = time.monotonic()
        complaint = self._pulse.complaint(now)
        if complaint is not None:
            raise BgWorkerError(complaint)
        mine = [worker for worker in self.stats().workers if worker.name == self.worker]
        if not mine or mine[0].state == "dead":
            raise BgWorkerError(f"{self._path} is not the file this worker works on any more")
        return {
            "status": "ok",
            "worker": self.worker,
            "children": board.children if board else 0,
            "running": len(board.running) if board else 0,
            "heartbeat_age_seconds": round(self._pulse.age(now) or 0.0, 3),
        }

    def _read(self) -> Stats | BgWorkerError:
        try:
            return self._inspector.stats(time.time_ns() // 1_000_000)
        except BgWorkerError as error:
            return error


class Server(ThreadingHTTPServer):
    """A thread per connection, of which there are few and none lasts long."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, subject: Subject) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.subject = subject
        self._open: dict[socket.socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """When there is no room left, the oldest connection makes some."""
        for oldest in list(self._open)[: max(0, len(self._open) - _CONNECTIONS + 1)]:
            self._cut_off(oldest)
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second, and after each connection."""
        self.subject.look()
        now = time.monotonic()
        for request, since in list(self._open.items()):
            if now - since > _CUT_OFF_AFTER:
                self._cut_off(request)

    def handle_error(self, *_: object) -> None:
        """A client that went away is nothing to speak of; anything else costs one answer."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            complain(f"--health: {type(error).__name__}: {error}")

    def _cut_off(self, request: socket.socket) -> None:
        self._open.pop(request, None)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            request.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One request per connection."""

    timeout = _SILENT
    server: Server
    server_version = "bgworker"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # who sends nothing of the kind gets a status line too

    def do_GET(self) -> None:
        """Answer what is asked for; HEAD likewise, without the body."""
        path = self.path.partition("?")[0]
        if path not in {"/healthz", "/metrics"}:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            if path == "/healthz":
                body = json.dumps(self.server.subject.health()) + "\n"
                self._answer(HTTPStatus.OK, "application/json", body.encode())
            else:
                self._metrics(self.server.subject.stats())
        except BgWorkerError as error:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    do_HEAD = do_GET  # noqa: N815 - as http.server wants it

    def send_error(self, code: int, message: str | None = None, *_: object) -> None:
        """One line of plain text; what the library has no method for is a method not allowed."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED and message != _NO_LIBRARY:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        ours = status in {HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.SERVICE_UNAVAILABLE}
        text = message if ours and message else status.phrase
        self._answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Standard error belongs to the worker's log."""

    def _metrics(self, stats: Stats) -> None:
        try:
            from bgworker.metrics import exposition
        except ImportError:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED, _NO_LIBRARY)
            return
        now = time.time_ns() // 1_000_000
        body, kind = exposition(stats, now, self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, kind, body)

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main(path: str, worker: str, parent: int) -> None:
    """Serve until the supervisor is gone, however it went."""
    die_with(parent)
    os.set_inheritable(SERVER_FD, False)
    Server(socket.socket(fileno=SERVER_FD), Subject(path, worker)).serve_forever(_LOOK_EVERY)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
