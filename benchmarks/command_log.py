"""Which process sends which commands to a Redis server, by its MONITOR and the kernel's sockets.

MONITOR slows the server, so this is a window of its own, apart from the one CPU time is taken in.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

_LINE = re.compile(rb'\+(\d+\.\d+) \[\d+ [^\]]*:(\d+)\] "([^"]*)"')
_SAME_TRIP = 0.0001
"""Commands that run less than 100 µs apart came in one packet: one round trip."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What one process tree sent, per second; ``share`` is its part of all commands."""

    commands: float
    round_trips: float
    writes: float
    share: float


def sent_by(pids: Iterable[int], port: int, seconds: float, writing: frozenset[str]) -> Sent:
    """Watch the server for ``seconds``; ``writing`` are the names of commands that write."""
    pids = list(pids)
    mine = _local_ports(pids)
    lines = _monitor(port, seconds)
    mine |= _local_ports(pids)
    own = [(at, name) for at, source, name in lines if source in mine]
    trips = sum(later - earlier > _SAME_TRIP for (earlier, _), (later, _) in pairwise(own))
    return Sent(
        commands=len(own) / seconds,
        round_trips=(trips + bool(own)) / seconds,
        writes=sum(name in writing for _, name in own) / seconds,
        share=len(own) / len(lines) if lines else 0.0,
    )


def commands_of(pids: Iterable[int], port: int, seconds: float) -> Counter[str]:
    """The commands these processes send within ``seconds``, and how often."""
    pids = list(pids)
    mine = _local_ports(pids)
    lines = _monitor(port, seconds)
    mine |= _local_ports(pids)
    return Counter(name for _, source, name in lines if source in mine)


def _monitor(port: int, seconds: float) -> list[tuple[float, int, str]]:
    """Time, port of the client and name of each command."""
    found = b""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"*1\r\n$7\r\nMONITOR\r\n")
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            link.settimeout(left)
            try:
                found += link.recv(65536)
            except TimeoutError:
                break
    matches = map(_LINE.match, found.split(b"\r\n"))
    return [
        (float(match[1]), int(match[2]), match[3].decode("ascii", "replace").upper())
        for match in matches
        if match is not None
    ]


def _local_ports(pids: Iterable[int]) -> set[int]:
    """The TCP ports at our end of the connections these processes hold."""
    inodes = set()
    for pid in pids:
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        except OSError:
            continue
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as file:
            for line in list(file)[1:]:
                words = line.split()
                if words[9] in inodes:
                    ports.add(int(words[1].rpartition(":")[2], 16))
    return ports
