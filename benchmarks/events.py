"""What following thousands of events a second costs: bgtop beside Flower and celery-exporter.

Each is alone with the same stream on a Redis of this machine: what it takes of a processor, its
memory at the end, and how many of the events it has counted. Then bgtop alone is given a million.
Nothing here passes or fails: the exit code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import IO

import machine
from background import free_port, program, redis_server

_HERE = os.path.dirname(os.path.abspath(__file__))
_READY_WITHIN = 60.0
_CAUGHT_UP_WITHIN = 15.0
_BARS = {"lost": 0.0, "cpu_percent": 60.0, "pss_mb": 80.0}
_BAR_OF_A_MILLION = 120.0


@dataclass(frozen=True, slots=True)
class Follower:
    """A process that listens: its pid, how many events of tasks it has counted, its last words."""

    pid: int
    counted: Callable[[], int | None]
    last_words: Callable[[], str] = str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one follower; ``cpu_percent`` is of one processor, while the events came."""

    said: int
    counted: int
    cpu_percent: float
    pss_mb: float
    source_cpu_percent: float
    rate: float

    @property
    def lost(self) -> int:
        """What was said and not counted."""
        return self.said - self.counted


@contextmanager
def bgtop(port: int, _peers: str) -> Iterator[Follower]:
    """Our backend, in the Python of this program."""
    script = os.path.join(_HERE, "event_counter.py")
    process = subprocess.Popen(
        [sys.executable, script, f"celery+redis://127.0.0.1:{port}/0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    ask, answers = process.stdin, process.stdout

    def counted() -> int:
        ask.write("?\n")
        return sum(n or 0 for kind, n in json.loads(answers.readline()).items() if kind != "missed")

    try:
        answers.readline()
        yield Follower(process.pid, counted)
    finally:
        ask.close()
        process.wait(20)


@contextmanager
def flower(port: int, peers: str) -> Iterator[Follower]:
    """Flower, which counts events for Prometheus."""
    place = free_port()
    python = os.path.join(peers, "bin", "python")
    broker = f"redis://127.0.0.1:{port}/0"
    command = [python, "-m", "celery", "-b", broker, "flower"]
    command += ["--address=127.0.0.1", f"--port={place}"]
    with program(command, {}, _HERE) as process:
        _wait_for_page(place)
        yield Follower(process.pid, lambda: _sum_of(place, r"flower_events_total\{.*task-.*"))


@contextmanager
def celery_exporter(port: int, peers: str) -> Iterator[Follower]:
    """The exporter that most run beside Flower."""
    place = free_port()
    python = os.path.join(os.path.dirname(peers), "exporter", "bin", "python")
    if not os.access(python, os.X_OK):
        raise FileNotFoundError(f"{python} with prometheus-exporter-celery, see benchmarks/README")
    command = [python, "-c", "from src.cli import cli; cli()"]
    command += [f"--broker-url=redis://127.0.0.1:{port}/0", f"--port={place}"]
    with tempfile.TemporaryFile() as log, program(command, {}, _HERE, log) as process:
        _wait_for_page(place)
        names = r"celery_task_(sent|received|started|succeeded)_total\{.*"
        yield Follower(process.pid, lambda: _sum_of(place, names), lambda: _last_words(log))


FOLLOWERS = {"bgtop": bgtop, "flower": flower, "celery-exporter": celery_exporter}


def _last_words(log: IO[bytes]) -> str:
    """The end of what a program said: here it names the error, over two lines."""
    log.seek(0)
    return " ".join(log.read().decode(errors="replace").split("\n")[-3:]).strip()


def _page(port: int) -> str | None:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        link.request("GET", "/metrics")
        return link.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


def _wait_for_page(port: int) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while _page(port) is None:
        if time.monotonic() > deadline:
            raise TimeoutError("it does not answer")
        time.sleep(0.1)
    # Its page is there before it listens to events.
    time.sleep(3)


def _sum_of(port: int, line: str) -> int | None:
    page = _page(port)
    if page is None:
        return None
    found = re.findall(rf"^{line} ([0-9.e+]+)$", page, re.MULTILINE)
    return round(sum(float(one[-1] if isinstance(one, tuple) else one) for one in found))


def follow(name: str, peers: str, rate: int, events: int) -> Outcome:
    """One of them, with a Redis and a stream of its own."""
    with redis_server() as port, FOLLOWERS[name](port, peers) as follower:
        before = _cpu_seconds(follower.pid)
        script = os.path.join(_HERE, "event_source.py")
        source = subprocess.run(
            [sys.executable, script, str(port), str(rate), str(events)],
            capture_output=True,
            text=True,
            check=True,
        )
        said = json.loads(source.stdout)
        used = _cpu_seconds(follower.pid) - before
        pss = machine.memory_mb(machine.process_tree(follower.pid))["pss"]
        if not pss:
            # Redis cuts a listener off that leaves over 32 MB unread, and this is where it shows.
            raise ChildProcessError(f"it ended by itself: {follower.last_words()}")
        return Outcome(
            said=said["said"],
            counted=_caught_up(follower, said["said"]),
            cpu_percent=used / said["seconds"] * 100,
            pss_mb=pss,
            source_cpu_percent=said["cpu"],
            rate=said["said"] / said["seconds"],
        )


def _caught_up(follower: Follower, said: int) -> int:
    """What it has counted in the end; who lags is given some seconds."""
    deadline, counted = time.monotonic() + _CAUGHT_UP_WITHIN, 0
    while counted < said and time.monotonic() < deadline:
        time.sleep(0.5)
        counted = follower.counted() or counted
    return counted


def _cpu_seconds(root: int) -> float:
    return sum(machine.cpu_ns(machine.process_tree(root)).values()) / 1e9


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    args = _arguments(argv)
    args.peers = os.path.abspath(args.peers)
    load = os.getloadavg()[0]
    found: dict[str, Outcome] = {}
    missing: dict[str, str] = {}
    try:
        for name in args.only:
            try:
                found[name] = follow(name, args.peers, args.rate, int(args.rate * args.seconds))
            except (OSError, subprocess.CalledProcessError) as error:
                missing[name] = str(error)
        million = follow("bgtop", args.peers, args.million_rate, args.million)
    except KeyboardInterrupt:
        return 130
    report(args, found, missing, million, (load, os.getloadavg()[0]))
    return 0


def report(
    args: argparse.Namespace,
    found: dict[str, Outcome],
    missing: dict[str, str],
    million: Outcome,
    load: tuple[float, float],
) -> None:
    """Print the table; write the document where it is wanted."""
    document = {
        "schema": 1,
        "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {**machine.describe("."), "load": load},
        "plan": {"rate": args.rate, "seconds": args.seconds, "million": args.million},
        "followers": {name: asdict(one) for name, one in found.items()},
        "missing": missing,
        "million": asdict(million),
    }
    if args.json == "-":
        print(json.dumps(document))
        return
    print(
        f"{args.rate:,} events/s for {args.seconds:g} s, Redis and source on this machine; "
        f"load average before and after {load[0]:.2f}, {load[1]:.2f}\n"
    )
    print(f"{'':18}{'events':>10}{'lost':>10}{'CPU %':>8}{'PSS MB':>8}{'events/s':>10}")
    for name, one in (*found.items(), (f"bgtop, {args.million:,}", million)):
        print(
            f"{name:18}{one.said:>10,}{one.lost:>10,}{one.cpu_percent:>8.1f}{one.pss_mb:>8.1f}"
            f"{one.rate:>10,.0f}"
        )
    for name, why in missing.items():
        print(f"{name:18}VOID: {why}")
    if "bgtop" in found:
        for key, bar in _BARS.items():
            print(_judged(key, float(getattr(found["bgtop"], key)), bar))
    print(_judged(f"pss_mb of {args.million:,} events", million.pss_mb, _BAR_OF_A_MILLION))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)


def _judged(what: str, figure: float, bar: float) -> str:
    return f"{what}: {figure:.1f}, bar {bar:g}: {'OK' if figure <= bar else 'missed'}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--peers", default=".venvs/bench", metavar="VENV", help="has the others")
    parser.add_argument("--only", nargs="+", choices=FOLLOWERS, default=[*FOLLOWERS])
    parser.add_argument("--rate", type=int, default=5_000, metavar="N", help="events a second")
    parser.add_argument("--seconds", type=float, default=60, metavar="S")
    parser.add_argument("--million", type=int, default=1_000_000, metavar="N", help="for bgtop")
    parser.add_argument("--million-rate", type=int, default=8_000, metavar="N", help="a second")
    parser.add_argument("--json", metavar="FILE", help="write all of it there; - for stdout")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
