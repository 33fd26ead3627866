"""How long a key waits for its answer on the live screen, while polls of a large broker run.

Real keys at a real terminal, at moments that know nothing of the polls: help is opened and closed
again, and the time is taken from the key to the picture. Nothing here passes or fails: the exit
code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing

import machine
import yardstick
from background import redis_server
from scale_world import WORLDS, world
from terminal import Terminal

_ROWS = re.compile(rb"queue-?\d")
_OPEN, _SHUT = re.compile(rb"bgtop help"), re.compile(rb"QUEUE")
_READY_WITHIN = 60.0
_ANSWERED_WITHIN = 10.0
_PAUSES = (0.05, 0.35)  # seconds between an answer and the next key


def answers(terminal: Terminal, keys: int) -> list[float]:
    """Milliseconds until each key was answered; raises ``TimeoutError`` when one never was."""
    took = []
    for number in range(keys):
        time.sleep(random.uniform(*_PAUSES))
        # Not Escape, which waits for what may follow it.
        key, wanted = ("x", _SHUT) if number % 2 else ("?", _OPEN)
        terminal.forget()
        before = time.monotonic()
        terminal.press(key)
        seen = terminal.seen(wanted, _ANSWERED_WITHIN)
        if seen is None:
            raise TimeoutError(f"{key!r} was not answered: {terminal.text()[-200:]}")
        took.append((terminal.began + seen - before) * 1e3)
    return took


def measure(system: str, args: argparse.Namespace, port: int) -> dict[str, float]:
    """One system of this size, looked at by one bgtop."""
    url = f"{system}+redis://127.0.0.1:{port}/0"
    with (
        world(system, port, queues=args.queues, workers=args.workers),
        closing(Terminal([args.bgtop, url, "--interval", f"{args.interval:g}"])) as terminal,
    ):
        if terminal.seen(_ROWS, _READY_WITHIN) is None:
            raise TimeoutError(f"no queues are shown: {terminal.text()[:1500]!r}")
        answers(terminal, 4)  # the first help page is imported
        before, began = machine.cpu_ns(machine.process_tree(terminal.pid)), time.monotonic()
        took = answers(terminal, args.keys)
        passed = time.monotonic() - began
        used = sum(machine.cpu_ns(machine.process_tree(terminal.pid)).values())
    return {
        "median_ms": statistics.median(took),
        "p95_ms": statistics.quantiles(took, n=20)[18],
        "p99_ms": statistics.quantiles(took, n=100)[98],
        "worst_ms": max(took),
        "cpu_percent": (used - sum(before.values())) / 1e9 / passed * 100,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    args = _arguments(argv)
    load, rows = os.getloadavg()[0], []
    try:
        for system in args.systems:
            with redis_server() as port:
                print(f"{system}: {args.queues:,} queues, {args.workers} workers")
                print(yardstick.words(port), flush=True)
                found = measure(system, args, port)
            print("  ".join(f"{name} {value:.1f}" for name, value in found.items()), flush=True)
            rows.append({"system": system, **found})
    except KeyboardInterrupt:
        return 130
    machine.conclude(load, {"keys": rows}, args.json)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--systems", nargs="+", choices=WORLDS, default=[*WORLDS], metavar="NAME")
    parser.add_argument("--queues", type=int, default=5_000, metavar="N")
    parser.add_argument("--workers", type=int, default=500, metavar="N")
    parser.add_argument("--interval", type=float, default=1, metavar="S", help="of bgtop")
    parser.add_argument("--keys", type=int, default=200, metavar="N")
    parser.add_argument(
        "--bgtop", default=os.path.join(os.path.dirname(sys.executable), "bgtop"), metavar="FILE"
    )
    parser.add_argument("--json", metavar="FILE", help="write all of it there")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
