"""How fast this machine speaks to Redis, so that figures of two machines can be compared."""

from __future__ import annotations

import socket
import statistics
import time

COMMANDS = 10_000
_ASKED = b"*2\r\n$4\r\nLLEN\r\n$7\r\nnothing\r\n" * COMMANDS
_ANSWERED = len(b":0\r\n") * COMMANDS
_TIMES = 15


def yardstick_ms(port: int) -> float:
    """What 10,000 pipelined LLEN take over a bare socket, without any client."""
    took = []
    with socket.create_connection(("127.0.0.1", port)) as link:
        for _ in range(_TIMES):
            began, left = time.perf_counter(), _ANSWERED
            link.sendall(_ASKED)
            while left:
                left -= len(link.recv(65_536))
            took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


def held_up(pieces: int, piece_us: float, limit_us: float) -> int:
    """How many pieces of work of our own took longer than ``limit_us``, out of so many.

    Each is ``piece_us`` of counting after a pause: what takes longer had to wait for a processor,
    which a server on this machine has to as often.
    """
    late = 0
    for _ in range(pieces):
        time.sleep(0.001)
        began = time.perf_counter()
        while time.perf_counter() - began < piece_us / 1e6:
            pass
        late += time.perf_counter() - began > limit_us / 1e6
    return late


def words(port: int) -> str:
    """One line for people."""
    return f"yardstick: {COMMANDS:,} LLEN over a bare socket in {yardstick_ms(port):.1f} ms"
