"""What watching a Celery cluster costs: bgtop beside ``celery events`` and Flower, in one run.

Each round starts every monitor afresh on the same cluster, one at a time: how long until it shows
something, what it takes while it is left alone, and what it asks of Redis. Nothing here passes or
fails: the exit code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone

import machine
from background import free_port
from command_log import Sent, sent_by
from monitor_cluster import Cluster, cluster, writing_commands
from terminal import Terminal

_SETTLE = 3.0  # seconds between the first screen and the measurement
_SHOWN_WITHIN = 30.0
_HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True, slots=True)
class Monitor:
    """How to start one, and how to know that it shows something (seconds from its start)."""

    name: str
    command: list[str]
    shown: Callable[[Terminal], float | None]


@dataclass(slots=True)
class Findings:
    """Of one monitor, a value per round (``first_screen``: per start)."""

    first_screen: list[float] = field(default_factory=list)
    cpu_percent: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    share_percent: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def median(self, name: str) -> float | None:
        """Over the rounds; ``None`` when there is nothing."""
        values = getattr(self, name)
        return statistics.median(values) if values else None


def monitors(here: Cluster, bgtop: str, interval: float) -> list[Monitor]:
    """The monitors to compare, bgtop first."""
    port = free_port()
    worker = re.compile(rb"worker-\d\d@bench")
    queue = re.compile(rb"bench-\d\d")

    def drawn(wanted: re.Pattern[bytes]) -> Callable[[Terminal], float | None]:
        return lambda terminal: terminal.seen(wanted, _SHOWN_WITHIN)

    return [
        Monitor(
            f"bgtop --interval {interval:g}",
            [bgtop, f"celery+{here.url}", "--interval", f"{interval:g}"],
            drawn(queue),
        ),
        Monitor("celery events", [*here.celery, "events"], drawn(worker)),
        Monitor(
            "flower",
            [*here.celery, "flower", "--address=127.0.0.1", f"--port={port}"],
            lambda terminal: _page_shows(terminal, port, worker),
        ),
    ]


def _page_shows(terminal: Terminal, port: int, wanted: re.Pattern[bytes]) -> float | None:
    """A page has no first paint to watch: it is asked for until it names a worker."""
    while time.monotonic() - terminal.began < _SHOWN_WITHIN:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            link.request("GET", "/workers")
            if wanted.search(link.getresponse().read()):
                return time.monotonic() - terminal.began
        except (OSError, http.client.HTTPException):
            pass
        finally:
            link.close()
        time.sleep(0.02)
    return None


def start(monitor: Monitor, here: Cluster) -> Terminal:
    return Terminal(monitor.command, environment=here.environment, folder=here.folder)


def first_screen(monitor: Monitor, here: Cluster, found: Findings) -> None:
    """From the start of the process to the first screen with something of the cluster on it."""
    terminal = start(monitor, here)
    try:
        seconds = monitor.shown(terminal)
        if seconds is None:
            found.failed.append(terminal.text()[-500:])
        else:
            found.first_screen.append(seconds)
    finally:
        terminal.close()


def at_work(monitor: Monitor, here: Cluster, found: Findings, seconds: float) -> None:
    """CPU and memory while it is left alone; then, in a window of its own, its commands."""
    terminal = start(monitor, here)
    try:
        if monitor.shown(terminal) is None:
            return
        time.sleep(_SETTLE)
        before, began = _cpu_seconds(terminal.pid), time.monotonic()
        time.sleep(seconds)
        used = _cpu_seconds(terminal.pid) - before
        found.cpu_percent.append(used / (time.monotonic() - began) * 100)
        tree = machine.process_tree(terminal.pid)
        found.rss_mb.append(sum(map(machine.rss_mb, tree)))
        found.pss_mb.append(machine.memory_mb(tree)["pss"])
        note_commands(found, sent_by(tree, here.port, seconds / 2, writing_commands(here)))
    finally:
        terminal.close()


def note_commands(found: Findings, sent: Sent) -> None:
    found.commands.append(sent.commands)
    found.round_trips.append(sent.round_trips)
    found.writes.append(sent.writes)
    found.share_percent.append(sent.share * 100)


def _cpu_seconds(root: int) -> float:
    return sum(machine.cpu_ns(machine.process_tree(root)).values()) / 1e9


_COLUMNS = (
    ("first s", "first_screen", "{:.2f}"),
    ("CPU %", "cpu_percent", "{:.2f}"),
    ("RSS MB", "rss_mb", "{:.1f}"),
    ("PSS MB", "pss_mb", "{:.1f}"),
    ("commands/s", "commands", "{:.1f}"),
    ("of all %", "share_percent", "{:.2f}"),
    ("trips/s", "round_trips", "{:.1f}"),
    ("writes/s", "writes", "{:.2f}"),
)


def table(found: dict[str, Findings]) -> str:
    """One line per monitor, medians; then how many times as much each peer takes."""
    lines = ["".join([f"{'':24}", *(f"{head:>12}" for head, _, _ in _COLUMNS)])]
    for name, findings in found.items():
        values = ((findings.median(key), shown) for _, key, shown in _COLUMNS)
        cells = ("–" if value is None else shown.format(value) for value, shown in values)
        lines.append("".join([f"{name:24}", *(f"{cell:>12}" for cell in cells)]))
    (ours, mine), *peers = found.items()
    for name, theirs in peers:
        ratios = []
        for head, key, _ in _COLUMNS[:4]:
            own, other = mine.median(key), theirs.median(key)
            if own and other:
                ratios.append(f"{other / own:.1f} x {head.split()[0]}")
        lines.append(f"{name} takes, of {ours.split()[0]}'s: {', '.join(ratios)}")
    return "\n".join(lines)


def measure(args: argparse.Namespace, here: Cluster) -> dict[str, Findings]:
    """All rounds, every round in another order."""
    subjects = monitors(here, args.bgtop, args.interval)
    found = {monitor.name: Findings() for monitor in subjects}
    for number in range(args.rounds):
        turn = number % len(subjects)
        for monitor in subjects[turn:] + subjects[:turn]:
            for _ in range(args.starts):
                first_screen(monitor, here, found[monitor.name])
            at_work(monitor, here, found[monitor.name], args.seconds)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 2 it cannot begin, 130 interrupted."""
    args = _arguments(argv)
    if not os.access(os.path.join(args.peers, "bin", "celery"), os.X_OK):
        sys.stderr.write(
            f"{args.peers}: no virtual environment with Celery and Flower. "
            "`make bench-monitor` makes it\n"
        )
        return 2
    load = [os.getloadavg()[0]]
    try:
        with cluster(args.peers, workers=args.workers, queues=args.queues, rate=args.rate) as here:
            found = measure(args, here)
    except KeyboardInterrupt:
        return 130
    load.append(os.getloadavg()[0])
    report(args, found, load)
    return 0


def report(args: argparse.Namespace, found: dict[str, Findings], load: list[float]) -> None:
    """Print the table; write the document where it is wanted."""
    document = {
        "schema": 1,
        "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {**machine.describe("."), "load": load},
        "plan": {
            name: getattr(args, name)
            for name in ("workers", "queues", "rate", "interval", "rounds", "starts", "seconds")
        },
        "monitors": {name: asdict(findings) for name, findings in found.items()},
    }
    if args.json == "-":
        print(json.dumps(document))
        return
    print(
        f"{args.workers} workers, {args.queues} queues, {args.rate:g} tasks/s; "
        f"{args.rounds} rounds of {args.seconds:g} s, 120x40; "
        f"load average before and after {load[0]:.2f}, {load[1]:.2f}\n"
    )
    print(table(found))
    for name, findings in found.items():
        for text in findings.failed:
            print(f"\n{name} showed nothing of the cluster; its last words:\n{text}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--peers", default=".venvs/bench", metavar="VENV", help="has them")
    parser.add_argument(
        "--bgtop", default=os.path.join(os.path.dirname(sys.executable), "bgtop"), metavar="FILE"
    )
    parser.add_argument("--workers", type=int, default=10, metavar="N")
    parser.add_argument("--queues", type=int, default=20, metavar="N")
    parser.add_argument("--rate", type=float, default=20, metavar="N", help="tasks a second")
    parser.add_argument("--interval", type=float, default=1, metavar="S", help="of bgtop")
    parser.add_argument("--rounds", type=int, default=2, metavar="N")
    parser.add_argument("--starts", type=int, default=3, metavar="N", help="extra, per round")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="of watching")
    parser.add_argument("--json", metavar="FILE", help="write all of it there; - for stdout")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
