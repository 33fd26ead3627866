"""What many browsers cost: bgtop web with 200 streams and 50 requests a second, beside Flower.

A Redis with queues of Celery is watched, by one browser and by all of them: the commands that Redis
ran, how long answers took, memory and CPU. Flower, where it is installed, gets as many requests of
its own (it has no streams). Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

import machine
from background import free_port, program, redis_server

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url

PATHS = ("/api/v1/queues", "/api/v1/workers", "/api/v1/snapshot", "/api/v1/sources", "/")
FLOWER_PATHS = ("/api/workers", "/api/queues/length", "/api/tasks?limit=50", "/workers?json=1", "/")


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked of a server, and for how long."""

    streams: int
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one server under one load; times in milliseconds, memory in MB."""

    server: str
    streams: int
    requests_a_second: float
    broker_commands_a_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    events_a_stream: float
    pss_mb: float
    cpu_percent: float


class Broker:
    """The Redis that is watched."""

    def __init__(self, port: int) -> None:
        self._link = RedisLink(parse_redis_url(f"redis://127.0.0.1:{port}/0"))

    def commands(self) -> int:
        """How many it ran, ours left out."""
        (reply,) = self._link.exchange(pack(("INFO", "commandstats")))
        assert isinstance(reply, bytes)
        calls = 0
        for line in reply.decode().splitlines():
            if line.startswith("cmdstat_") and not line.startswith("cmdstat_info"):
                calls += int(line.partition("calls=")[2].partition(",")[0])
        return calls

    def fill(self, queues: int) -> None:
        """Queues of Celery with some messages, without any worker."""
        commands = []
        for number in range(queues):
            name = f"queue{number}"
            commands.append(("SADD", f"_kombu.binding.{name}", f"{name}\x06\x16\x06\x16{name}"))
            commands += [("LPUSH", name, "{}")] * (number % 7 + 1)
        for command in commands:
            self._link.exchange(pack(command))


class Streams:
    """Many browsers that listen, in one thread of ours; counts what they hear."""

    def __init__(self, port: int, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = []
        self.events = 0
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(b"GET /events?page=overview HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ)
            self._sockets.append(connection)
        self._over = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(0.2):
                data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
                self.events += data.count(b"event: ")

    def close(self) -> None:
        """Nobody listens any more."""
        self._over = True
        self._thread.join()
        for connection in self._sockets:
            connection.close()


def requests(port: int, paths: Sequence[str], load: Load) -> tuple[list[float], int]:
    """Ask at a rate, over four connections; the milliseconds of each answer, how many failed."""
    taken: list[float] = []
    failed = 0
    lock = threading.Lock()
    numbers = iter(range(int(load.rate * load.seconds)))
    began = time.monotonic()

    def ask() -> None:
        nonlocal failed
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            due = began + number / load.rate
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                at = time.monotonic()
                connection.request("GET", paths[number % len(paths)], headers={"Host": "localhost"})
                answer = connection.getresponse()
                answer.read()
                ok = answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                ok = False
            with lock:
                taken.append((time.monotonic() - at) * 1000)
                failed += not ok

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, failed


def cpu_of(pid: int) -> float:
    """Seconds of processor time so far, of a process and those below it."""
    return sum(machine.cpu_ns(machine.process_tree(pid)).values()) / 1e9


def measure(
    name: str, pid: int, port: int, paths: Sequence[str], broker: Broker, load: Load
) -> Figures:
    """One server under one load, once it has settled."""
    with ExitStack() as stack:
        streams = None
        if load.streams:
            streams = Streams(port, load.streams)
            stack.callback(streams.close)
        time.sleep(3)
        commands, cpu, began = broker.commands(), cpu_of(pid), time.monotonic()
        events = streams.events if streams else 0
        if load.rate:
            taken, failed = requests(port, paths, load)
        else:
            time.sleep(load.seconds)
            taken, failed = [0.0], 0
        passed = time.monotonic() - began
        taken.sort()
        return Figures(
            server=name,
            streams=load.streams,
            requests_a_second=round(len(taken) / passed if load.rate else 0.0, 1),
            broker_commands_a_second=round((broker.commands() - commands) / passed, 1),
            p50_ms=round(taken[len(taken) // 2], 1),
            p99_ms=round(taken[int(len(taken) * 0.99)], 1),
            failed=failed,
            events_a_stream=round((streams.events - events) / load.streams if streams else 0.0, 1),
            pss_mb=round(machine.memory_mb(machine.process_tree(pid))["pss"], 1),
            cpu_percent=round(100 * (cpu_of(pid) - cpu) / passed, 1),
        )


@contextmanager
def listening(command: Sequence[str], port: int, **around: str) -> Iterator[int]:
    """A server, once it answers; its process id."""
    with program(command, around, os.getcwd()) as process:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield process.pid


def run(options: argparse.Namespace) -> list[Figures]:
    """All servers, one after the other, on one broker."""
    one, many = Load(1, 0, options.seconds), Load(options.streams, options.rate, options.seconds)
    found: list[Figures] = []
    with ExitStack() as stack:
        broker_port = stack.enter_context(redis_server())
        broker = Broker(broker_port)
        broker.fill(20)
        url = f"redis://127.0.0.1:{broker_port}/0"
        port = free_port()
        bgtop = os.path.join(os.path.dirname(sys.executable), "bgtop")
        command = [bgtop, "web", f"celery+{url}", "--listen", f"127.0.0.1:{port}"]
        for load in (one, many):
            with listening([*command, "--interval", "5"], port) as pid:
                found.append(measure("bgtop web", pid, port, PATHS, broker, load))
        if os.path.exists(options.flower):
            port = free_port()
            flower = [options.flower, "-b", url, "flower"]
            where = [f"--port={port}", "--address=127.0.0.1"]
            with listening([*flower, *where], port, FLOWER_UNAUTHENTICATED_API="1") as pid:
                asked = Load(0, options.rate, options.seconds)
                found.append(measure("flower", pid, port, FLOWER_PATHS, broker, asked))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run, nothing to quote")
    parser.add_argument("--peers", metavar="VENV", default=".venvs/bench", help="where Flower is")
    parser.add_argument("--json", metavar="FILE", help="the document, - for standard output")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load (60)")
    parser.add_argument("--streams", type=int, default=200, help="browsers that listen (200)")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (50)")
    options = parser.parse_args()
    if options.quick:
        options.seconds = 6.0
    options.flower = os.path.join(os.path.abspath(options.peers), "bin", "celery")
    found = run(options)
    names = list(asdict(found[0]))
    rows = [names, *([str(value) for value in asdict(one).values()] for one in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(names))]
    for row in rows:
        print("  ".join(text.rjust(wide) for text, wide in zip(row, widths, strict=True)))
    if len(found) < 3:
        print("flower: missing (make venv-bench)")
    if options.json:
        document = {"machine": machine.describe("."), "figures": [asdict(one) for one in found]}
        text = json.dumps(document, indent=1)
        if options.json == "-":
            print(text)
        else:
            with open(options.json, "w", encoding="utf-8") as file:
                file.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
