"""How fast the live screen answers, and how few bytes it writes: printed as a table and JSON.

    python benchmarks/screen.py [--queues N] [--workers N]

Keys and drawings are timed inside one process, the bytes are counted at a pseudo-terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Final

from bgtop.cli.feeds import spare_the_collector
from bgtop.contracts import Look, Size
from bgtop.model import (
    Age,
    BackendInfo,
    Capability,
    Frame,
    QueueReading,
    Reading,
    Snapshot,
    Source,
    WorkerReading,
)
from bgtop.state.fold import Polled
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
from bgtop.view.keys import follow, reduce
from bgtop.view.layout import layout
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui

SIZE: Final = Size(120, 40)
KEYS: Final = (
    *("j", "j", "pgdn", "G", "k", "g", "tab", "j", "tab", ">", ">", "i", " ", "*", "U", "/", "7"),
    *("1", "enter", "esc", "/", "d", "e", "p", "t", "h", ">", "5", "0", "enter", "esc", "F", "F"),
    *("enter", "esc", "2", "5", "1", "?", "x", "P", "n"),
)
INFO: Final = BackendInfo(
    system="bench",
    broker="none",
    url="bench://",
    capabilities=frozenset({Capability.DEPTH, Capability.WORKERS}),
)


def reading(queues: int, workers: int, turn: int, changed: int | None = None) -> Reading:
    """A system that moves: all of it, or so many queues only."""
    now = datetime.now(timezone.utc)
    moved = queues if changed is None else changed
    return Reading(
        taken_at=now,
        queues=tuple(
            QueueReading(
                name=f"queue-{number:05}",
                depth=(number * 37 + (turn if number < moved else 0)) % 5000,
                unacked=number % 3,
                oldest=Age(number % 100),
                consumers=1,
                entered_total=number * 100 + turn,
                left_total=number * 100 + turn,
            )
            for number in range(queues)
        ),
        workers=tuple(
            WorkerReading(
                name=f"worker-{number:04}@example.org",
                last_heartbeat_at=now - timedelta(seconds=1),
                running=number % 3,
                concurrency=4,
                processed=number * 7,
            )
            for number in range(workers)
        ),
    )


def frame_after(known: Knowledge, seen: Reading, clock: float) -> tuple[Knowledge, Frame]:
    sample = Polled(source="bench", info=INFO, reading=seen, clock=clock, poll_seconds=0.004)
    known = learn(known, sample, Selection())
    return known, Frame(snapshot=known.snapshot, rates=known.rates, trends=known.trends)


def beginning() -> Knowledge:
    source = Source(name="bench", info=INFO)
    now = datetime.now(timezone.utc)
    return Knowledge(snapshot=Snapshot(taken_at=now, sources=(source,)))


def timed_keys(queues: int, workers: int) -> dict[str, float]:
    """Milliseconds from a key to the lines of its picture, with a new frame before every third."""
    known, ui = beginning(), Ui(size=SIZE, interval=1.0)
    answers, drawings, news, first, cpu = [], [], [], [], []
    for turn, key in enumerate(KEYS * 3):
        if turn % 3 == 0:
            seen = reading(queues, workers, turn)
            began = time.perf_counter()
            known, frame = frame_after(known, seen, float(turn))
            ui = follow(ui, frame)
            news.append((time.perf_counter() - began) * 1e3)
        began, used = time.perf_counter(), time.thread_time()
        ui, _ = reduce(ui, key, frame)
        decided = time.perf_counter()
        layout(page_of(frame, ui, datetime.now(timezone.utc)), SIZE)
        ended = time.perf_counter()
        answers.append((ended - began) * 1e3)
        cpu.append((time.thread_time() - used) * 1e3)
        drawings.append((ended - decided) * 1e3)
        if turn % 3 == 0:
            first.append(answers[-1])
    return {
        "key_ms": statistics.median(answers),
        "key_p95_ms": statistics.quantiles(answers, n=20)[18],
        "key_worst_ms": max(answers),
        "key_cpu_p95_ms": statistics.quantiles(cpu, n=20)[18],
        "key_after_news_ms": statistics.median(first),
        "draw_ms": statistics.median(drawings),
        "news_ms": statistics.median(news),
    }


class Terminal:
    """A pseudo-terminal in place of standard input and output; counts what is written to it."""

    def __init__(self) -> None:
        import fcntl
        import struct
        import termios

        self.master, slave = os.openpty()
        size = struct.pack("HHHH", SIZE.rows, SIZE.columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        self._own = os.dup(0), os.dup(1)
        os.dup2(slave, 0)
        os.dup2(slave, 1)
        os.close(slave)
        self.written = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self.written += len(os.read(self.master, 65536))
            except OSError:
                return

    def settled(self) -> int:
        """The bytes written so far, once no more come."""
        before = -1
        while before != self.written:
            before = self.written
            time.sleep(0.05)
        return before

    def restore(self) -> None:
        """Give standard input and output back."""
        os.dup2(self._own[0], 0)
        os.dup2(self._own[1], 1)


def first_picture() -> float:
    """Milliseconds from the start of the command to its first picture, the median of five."""
    import subprocess

    times = []
    for _ in range(5):
        master, slave = os.openpty()
        began = time.perf_counter()
        # Nobody listens there: the first picture does not wait for anybody.
        command = [
            os.path.join(os.path.dirname(sys.executable), "bgtop"),
            "rq+redis://localhost:1/0",
        ]
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
        written = b""
        while b"Help" not in written:
            written += os.read(master, 65536)
        times.append((time.perf_counter() - began) * 1e3)
        os.write(master, b"q")
        process.wait()
        os.close(master)
        os.close(slave)
    return statistics.median(times)


def counted_bytes() -> dict[str, float]:
    """What curses writes for a refresh of 30 queues: unchanged, and with 5 cells changed."""
    from bgtop.renderers.curses import CursesRenderer

    terminal = Terminal()
    renderer = CursesRenderer(Look())
    ui = Ui(size=SIZE, interval=1.0)
    known, frame = frame_after(beginning(), reading(30, 5, 0), 0.0)
    known, frame = frame_after(known, reading(30, 5, 0), 0.5)
    now = datetime.now(timezone.utc)
    try:
        renderer.draw(page_of(frame, ui, now))
        began = terminal.settled()
        renderer.draw(page_of(frame, ui, now + timedelta(seconds=1)))
        same = terminal.settled()
        _, frame = frame_after(known, reading(30, 5, 3, changed=5), 1.0)
        renderer.draw(page_of(frame, ui, now + timedelta(seconds=1)))
        changed = terminal.settled()
    finally:
        renderer.close()
        terminal.restore()
    return {
        "first_bytes": began,
        "unchanged_bytes": same - began,
        "changed_bytes": changed - same,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--term", default="xterm-256color")
    options = parser.parse_args()
    os.environ["TERM"] = options.term
    spare_the_collector()
    figures = {
        **timed_keys(options.queues, options.workers),
        "first_picture_ms": first_picture(),
        **counted_bytes(),
    }
    for name, figure in figures.items():
        sys.stdout.write(f"{name:<18} {figure:10.1f}\n")
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
