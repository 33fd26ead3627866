"""A server as Redis 2.4 was: no HELLO, no CLIENT, no SCAN, and one password for everybody."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ANSWERS = {b"DBSIZE": b":1", b"TYPE": b"+none", b"SELECT": b"+OK", b"PING": b"+PONG"}


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while command := self._command():
            name = command[0].upper()
            answer = _ANSWERS.get(name, b"-ERR unknown command '%b'" % name)
            if name == b"AUTH" and len(command) != 2:
                answer = b"-ERR wrong number of arguments for 'auth' command"
            self.wfile.write(answer + b"\r\n")

    def _command(self) -> list[bytes]:
        head = self.rfile.readline()
        if not head:
            return []
        words = []
        for _ in range(int(head[1:])):
            size = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(size + 2)[:-2])
        return words


@contextmanager
def old_redis() -> Iterator[int]:
    """The port it listens at."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
