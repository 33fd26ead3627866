"""The program in which the conformance suite runs a renderer on a terminal of its own.

Its orders come as values through a socket from the test that started it; what comes of them and
which keys were pressed goes back the same way.
"""

from __future__ import annotations

import fcntl
import sys
import termios
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from multiprocessing.connection import Client, Connection
from threading import Thread
from typing import Any, Final

from bgtop.contracts import Interrupted, NoTerminal, Renderer

LONG: Final = 60.0
"""Seconds the stage waits for a key; an order has to end that wait."""


def main(arguments: Sequence[str]) -> int:
    """``module:attribute`` of the plug-in, and the address of the socket; the exit status."""
    reference, address = arguments
    line: Connection[Any, Any] = Client(address)
    # A terminal of our own: Ctrl-C and hanging up reach us as they reach any program.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    module, _, attribute = reference.partition(":")
    plugin = getattr(import_module(module), attribute)
    try:
        renderer: Renderer = plugin.open(line.recv())
    except NoTerminal as reason:
        line.send(("no terminal", str(reason)))
        return 0
    try:
        _play(renderer, line)
    except Interrupted as end:
        line.send(("interrupted", end.signal))
    except ZeroDivisionError:
        line.send(("failed", None))
    finally:
        renderer.close()
        line.send(("closed", None))
    return 0


def _play(renderer: Renderer, line: Connection[Any, Any]) -> None:
    """Do as ordered, and tell every key, until the order to end."""
    orders: deque[tuple[str, Any]] = deque()
    Thread(target=_listen, args=(renderer, line, orders), daemon=True).start()
    line.send(("open", renderer.size))
    while True:
        key = renderer.next_key(LONG)
        if key is not None:
            line.send(("key", key))
        while orders:
            match orders.popleft():
                case ("draw", page):
                    renderer.draw(page)
                    line.send(("drawn", renderer.size))
                case ("wait", seconds):
                    line.send(("waited", renderer.next_key(seconds)))
                case ("fail", _):
                    raise ZeroDivisionError
                case _:
                    return


def _listen(renderer: Renderer, line: Connection[Any, Any], orders: deque[tuple[str, Any]]) -> None:
    """Take orders in, and wake the renderer for each."""
    while True:
        try:
            orders.append(line.recv())
        except (EOFError, OSError):
            orders.append(("end", None))
            renderer.wake()
            return
        renderer.wake()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
