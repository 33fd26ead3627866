"""How long a key waits for its answer on the live screen, while polls of a large broker run.

Real keys of each kind at a real terminal, at moments that know nothing of the polls; the time is
taken from the key to the picture. Nothing here passes or fails: the exit code is 0 when the run
came to its end.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple

import machine
import yardstick
from background import redis_server
from scale_world import WORLDS, world
from terminal import Terminal

_ROWS = re.compile(rb"queue-?\d")
_READY_WITHIN = 60.0
_ANSWERED_WITHIN = 10.0
_PAUSES = (0.05, 0.35)  # seconds between an answer and the next key


class Step(NamedTuple):
    """A key of one kind, and what is drawn in answer to it and by nothing else."""

    kind: str
    key: str
    drawn: str


_ORDER = "[\u2191\u2193]"  # the arrow beside the title of a column
STEPS = (
    Step("help", "?", "bgtop help"),
    Step("help", "x", "QUEUE"),
    Step("filter", "/", "filter queues"),
    Step("filter", "7", "/7"),
    Step("filter", "\x7f", "[18]/"),
    Step("filter", "\r", "Help"),
    Step("page", "2", "tasks"),
    Step("page", "6", "findings"),
    Step("page", "5", "sources"),
    Step("page", "1", "QUEUE"),
    Step("table", "\t", "WORKER"),
    Step("table", "\t", "QUEUE"),
    Step("move", "G", "queue-?[0-9]{5}"),
    Step("move", "g", "queue-?00000"),
    Step("move", "j", "queue-?00001"),
    Step("move", "k", "queue-?00000"),
    Step("sort", ">", _ORDER),
    Step("sort", ">", _ORDER),
    Step("sort", "<", _ORDER),
    Step("sort", "<", _ORDER),
    Step("sort", "i", _ORDER),
    Step("sort", "i", _ORDER),
)
"""One after another, again and again: the last leaves the screen as the first found it.

Escape is not among them: it waits for what may follow it."""


def answers(terminal: Terminal, keys: int) -> list[tuple[str, float]]:
    """The kind of each key and the ms until it was answered; ``TimeoutError`` when it was not."""
    took = []
    for step in islice(cycle(STEPS), keys):
        time.sleep(random.uniform(*_PAUSES))
        wanted = re.compile(step.drawn.encode())
        terminal.forget()
        before = time.monotonic()
        terminal.press(step.key)
        seen = terminal.seen(wanted, _ANSWERED_WITHIN)
        if seen is None:
            raise TimeoutError(f"{step} was not answered: {terminal.text()[-200:]}")
        took.append((step.kind, (terminal.began + seen - before) * 1e3))
    return took


@contextmanager
def _world_apart(system: str, port: int, args: argparse.Namespace) -> Iterator[None]:
    """A world in a process of its own: its heartbeats must not hold up who looks at the clock."""
    processes = get_context("spawn")
    ready, over = processes.Event(), processes.Event()
    sizes = {"queues": args.queues, "workers": args.workers}
    process = processes.Process(target=_keep_alive, args=(system, port, sizes, ready, over))
    process.start()
    try:
        if not ready.wait(_READY_WITHIN):
            raise TimeoutError(f"no {system} was made")
        yield
    finally:
        over.set()
        process.join()


def _keep_alive(system: str, port: int, sizes: dict[str, int], ready: Event, over: Event) -> None:
    with world(system, port, **sizes):
        ready.set()
        over.wait()


def measure(system: str, args: argparse.Namespace, port: int) -> dict[str, Any]:
    """One system of this size, looked at by one bgtop."""
    url = f"{system}+redis://127.0.0.1:{port}/0"
    command = [args.bgtop, url, "--interval", f"{args.interval:g}", "--sort", "name"]
    with (
        _world_apart(system, port, args),
        closing(Terminal(command)) as terminal,
    ):
        if terminal.seen(_ROWS, _READY_WITHIN) is None:
            raise TimeoutError(f"no queues are shown: {terminal.text()[:1500]!r}")
        answers(terminal, len(STEPS))  # each page is imported when it is looked at first
        before, began = machine.cpu_ns(machine.process_tree(terminal.pid)), time.monotonic()
        took = answers(terminal, args.keys)
        passed = time.monotonic() - began
        used = sum(machine.cpu_ns(machine.process_tree(terminal.pid)).values())
    kinds = {kind: [ms for one, ms in took if one == kind] for kind, _ in took}
    return {
        **_figures([ms for _, ms in took]),
        "cpu_percent": (used - sum(before.values())) / 1e9 / passed * 100,
        "kinds": {kind: _figures(found) for kind, found in kinds.items() if len(found) > 1},
    }


def _figures(took: Sequence[float]) -> dict[str, float]:
    centiles = statistics.quantiles(took, n=100)
    return {
        "keys": len(took),
        "median_ms": statistics.median(took),
        "p95_ms": centiles[94],
        "p99_ms": centiles[98],
        "worst_ms": max(took),
    }


def _line(found: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.1f}" for name, value in found.items() if name != "kinds")


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
            for kind, figures in found["kinds"].items():
                print(f"{kind:<8}{_line(figures)}")
            print(f"{'all':<8}{_line(found)}", flush=True)
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
