"""A way to a server that can be shut: who comes is refused, and who is inside is thrown out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress


class Door:
    """A TCP address that leads to another one, and can be shut."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self._stack = ExitStack()

    def open(self) -> None:
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", self.port)))
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        self._stack.callback(listener.shutdown, socket.SHUT_RDWR)

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                for one, other in ((client, server), (server, client)):
                    self._stack.callback(one.close)
                    self._stack.callback(_suppressed, one.shutdown, socket.SHUT_RDWR)
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()

    def shut(self) -> None:
        self._stack.close()


def _suppressed(call: Callable[[int], object], argument: int) -> None:
    with suppress(OSError):
        call(argument)


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        # Who leaves on one side has left on the other.
        other.shutdown(socket.SHUT_WR)
