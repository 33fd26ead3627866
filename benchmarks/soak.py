"""An hour of the live view beside four busy job systems: its memory has to stay as it is.

Jobs and workers come and go under new names, and two hundred queues; every minute all connections
are cut; somebody walks through the pages, filters and sorts without a pause. The exit code is 1
when the view has ended, or when it takes more memory in the last quarter of the time than it did in
the second.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

import machine
from background import redis_server
from scale_world import WORLDS, world
from terminal import Terminal

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url

_FLAT_MB = 1.0
"""What the median of a quarter may differ by."""

_KEYS = (*"123456jjjkkGg<>i p p", "\r", "\r", "\x1b", "\x1b", "\t", "+", "-", "?", "?")
# No letter of these quits, should a key before them have closed the line they are typed into.
_TYPED = ("/worker-0\r", "/depth>1\r", "/\r", ":over\r", "/!pod-0\r")


class Traffic(threading.Thread):
    """Changes something of each system ten times a second, as applications and workers do."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._link = RedisLink(parse_redis_url(f"redis://127.0.0.1:{port}/0"), read_timeout=60.0)
        self._over = threading.Event()
        self.changes = 0

    def run(self) -> None:
        """Go on until closed."""
        while not self._over.wait(0.1):
            self.changes += 1
            self._link.exchange(pack(*self._change(self.changes)))
            if self.changes % 600 == 0:
                self._link.exchange(pack(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")))

    def close(self) -> None:
        """Stop at once."""
        self._over.set()
        self.join()
        self._link.close()

    def _change(self, turn: int) -> list[tuple[str | int, ...]]:
        queue, worker = f"queue-{turn % 20:05d}", f"rq:worker:pod-{turn:06d}"
        # Where brokers keep no list of queues, all that were seen count: so these come back.
        new, old = f"come-{turn % 200:03d}", f"come-{(turn - 100) % 200:03d}"
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        return [
            ("LPUSH", queue, f'{{"headers": {{"id": "job-{turn}", "task": "shop.t{turn}"}}}}'),
            ("LTRIM", queue, 0, 50),
            ("SADD", f"_kombu.binding.{new}", f"{new}\x06\x16\x06\x16{new}"),
            ("LPUSH", new, "{}"),
            ("DEL", old, f"_kombu.binding.{old}"),
            ("SADD", "rq:queues", f"rq:queue:{new}"),
            ("SREM", "rq:queues", f"rq:queue:{old}"),
            ("LPUSH", f"huey.redis.{new.replace('-', '')}", "x"),
            ("DEL", f"huey.redis.{old.replace('-', '')}"),
            ("SADD", "rq:workers", worker),
            ("HSET", worker, "state", "idle", "birth", now, "last_heartbeat", now),
            ("SREM", "rq:workers", f"rq:worker:pod-{turn - 100:06d}"),
            ("DEL", f"rq:worker:pod-{turn - 100:06d}"),
        ]


def walk(terminal: Terminal, seconds: float) -> bool:
    """Press keys for so long; whether the view is still there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        terminal.press(random.choice(_TYPED) if random.random() < 0.1 else random.choice(_KEYS))
        time.sleep(0.5)
    return machine.rss_mb(terminal.pid) > 0


def watch(terminal: Terminal, traffic: Traffic, minutes: float) -> list[float]:
    """The memory (RSS, MB) at the end of every minute."""
    found: list[float] = []
    for minute in range(1, round(minutes) + 1):
        if not walk(terminal, 60):
            print(f"the view ended in minute {minute}:\n{terminal.text()[-2000:]}")
            return []
        found.append(machine.rss_mb(terminal.pid))
        print(f"minute {minute:>3}  {found[-1]:6.1f} MB  {traffic.changes:,} changes", flush=True)
    return found


def verdict(found: list[float]) -> int:
    """Compare the quarters; the exit code."""
    quarter = len(found) // 4
    if not quarter:
        return 1
    early = statistics.median(found[quarter : 2 * quarter])
    late = statistics.median(found[-quarter:])
    flat = late - early <= _FLAT_MB
    print(f"second quarter {early:.1f} MB, last {late:.1f} MB: {'flat' if flat else 'GROWING'}")
    return 0 if flat else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    beside = sys.executable.rpartition("/")[0]
    parser.add_argument("--bgtop", default=f"{beside}/bgtop", metavar="FILE")
    parser.add_argument("--minutes", type=float, default=60, metavar="N")
    args = parser.parse_args(argv)
    with ExitStack() as stack:
        port = stack.enter_context(redis_server())
        for system in WORLDS:
            stack.enter_context(world(system, port, queues=20, workers=10, beside_others=True))
        traffic = Traffic(port)
        traffic.start()
        stack.callback(traffic.close)
        terminal = Terminal(
            [args.bgtop, f"redis://127.0.0.1:{port}/0", "--interval", "1", "--read-only"]
        )
        stack.callback(terminal.close)
        return verdict(watch(terminal, traffic, args.minutes))


if __name__ == "__main__":
    sys.exit(main())
