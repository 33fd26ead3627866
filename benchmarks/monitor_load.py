"""What watching costs brokers at work: bgtop beside the monitors of Celery and RQ, in one run.

For each system real workers run no-op jobs that a producer sends at a rate. Then each monitor is
started alone and left alone: its CPU, its memory, and which part of all commands of the broker are
its own. Nothing here passes or fails: the exit code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass

import machine
import yardstick
from background import free_port, program, redis_server
from command_log import sent_by
from monitor_cluster import commands_that_write
from terminal import Terminal

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url

SYSTEMS = ("celery", "rq", "huey", "dramatiq")
_PEERS_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
_WORK_WITHIN = 90.0
_SECONDS_BETWEEN_PAGES = 2.5
"""How often the page of RQ's dashboard asks for its tables."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """How to start one; ``pages`` are what a browser on it would fetch again and again."""

    name: str
    command: Sequence[str]
    port: int | None = None
    pages: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one monitor beside one system; rates are per second, parts in percent.

    ``commands_per_job`` are those of the system itself, ``share_at_rate`` the monitor's part if as
    many jobs ran as were asked for, each at that price: an estimate where the machine does fewer.
    """

    monitor: str
    system: str
    jobs: float
    broker_commands: float
    cpu_percent: float
    rss_mb: float
    commands: float
    share_percent: float
    commands_per_job: float
    share_at_rate: float
    writes: float


class Broker:
    """What the server says of itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._link = RedisLink(parse_redis_url(f"redis://127.0.0.1:{port}/0"))

    def sent(self) -> int:
        """How many jobs the producer has sent."""
        (reply,) = self._link.exchange(pack(("GET", "bench:sent")))
        return int(reply) if isinstance(reply, bytes) else 0

    def commands(self) -> int:
        """How many ran since it began, those inside scripts as well."""
        (reply,) = self._link.exchange(pack(("INFO", "commandstats")))
        assert isinstance(reply, bytes)
        lines = reply.decode().splitlines()
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines if "calls=" in line)


@contextmanager
def at_work(system: str, args: argparse.Namespace, port: int) -> Iterator[Broker]:
    """Workers and a producer, until the end of the block."""
    queues = [f"bench{number:02d}" for number in range(args.queues)]
    url = f"redis://127.0.0.1:{port}/0"
    environment = {"BENCH_BROKER": url, "BENCH_QUEUES": ",".join(queues)}
    busy = [os.path.join(os.path.abspath(args.peers), "bin", "python"), "busy.py", system]
    broker = Broker(port)
    with ExitStack() as stack:
        for number in range(args.workers):
            served = queues[number :: args.workers] or queues[:1]
            stack.enter_context(program([*busy, "work", *served], environment, _PEERS_FOLDER))
        stack.enter_context(program([*busy, "send", str(args.rate)], environment, _PEERS_FOLDER))
        deadline = time.monotonic() + _WORK_WITHIN
        # So many are sent only when they are taken as well; of a small load it takes too long.
        while broker.sent() < min(100 * args.queues, 10 * args.rate):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{system} does not get to work")
            time.sleep(0.2)
        yield broker


def monitors(system: str, args: argparse.Namespace, port: int) -> list[Monitor]:
    """Those to compare, bgtop first; who is not installed is not among them."""
    url, own = f"redis://127.0.0.1:{port}/0", free_port()
    folder = os.path.join(os.path.abspath(args.peers), "bin")
    found = [Monitor("bgtop", [args.bgtop, f"{system}+{url}", "--interval", f"{args.interval:g}"])]
    if system == "celery":
        celery = [os.path.join(folder, "celery"), "-b", url]
        flower = [*celery, "flower", "--address=127.0.0.1", f"--port={own}"]
        exporter = os.path.join(folder, "celery-exporter")
        found += [
            Monitor("flower", flower),
            Monitor("celery-exporter", [exporter, "-b", url, "-l", f"127.0.0.1:{own}"]),
        ]
    if system == "rq":
        rq = [os.path.join(folder, "rq"), "info", "--url", url, "--interval", "1"]
        dashboard = [os.path.join(folder, "rq-dashboard"), "-u", url, "-p", str(own)]
        tables = [f"/0/data/{name}.json" for name in ("queues", "workers")]
        found += [
            Monitor("rq info --interval 1", rq),
            Monitor("rq-dashboard", [*dashboard, "-b", "127.0.0.1"], own, tables),
        ]
    return [monitor for monitor in found if os.access(monitor.command[0], os.X_OK)]


def measure(monitor: Monitor, system: str, broker: Broker, args: argparse.Namespace) -> Cost:
    """CPU, memory and the broker's commands first, then the monitor's own in another window."""
    terminal = Terminal(monitor.command, folder=_PEERS_FOLDER)
    over = threading.Event()
    browser = threading.Thread(target=_browse, args=(monitor, over))
    browser.start()
    try:
        time.sleep(args.settle)
        tree = machine.process_tree(terminal.pid)
        before = broker.commands(), broker.sent(), _cpu_seconds(terminal.pid)
        began = time.monotonic()
        time.sleep(args.seconds)
        passed = time.monotonic() - began
        after = broker.commands(), broker.sent(), _cpu_seconds(terminal.pid)
        per_second = [(b - a) / passed for a, b in zip(before, after, strict=True)]
        tree = machine.process_tree(terminal.pid)
        rss = sum(machine.rss_mb(pid) for pid in tree)
        if not tree:
            raise RuntimeError(f"{monitor.name} ended: {terminal.text()[-300:]}")
        own = sent_by(tree, broker.port, args.seconds / 2, commands_that_write(broker.port))
    finally:
        over.set()
        terminal.close()
        browser.join()
    all_commands, jobs, cpu = per_second
    a_job = (all_commands - own.commands) / jobs
    return Cost(
        monitor=monitor.name,
        system=system,
        jobs=jobs,
        broker_commands=all_commands,
        cpu_percent=cpu * 100,
        rss_mb=rss,
        commands=own.commands,
        share_percent=own.commands / all_commands * 100,
        commands_per_job=a_job,
        share_at_rate=own.commands / (own.commands + a_job * args.rate) * 100,
        writes=own.writes,
    )


def _browse(monitor: Monitor, over: threading.Event) -> None:
    while monitor.port is not None and not over.wait(_SECONDS_BETWEEN_PAGES):
        for page in monitor.pages:
            link = http.client.HTTPConnection("127.0.0.1", monitor.port, timeout=5)
            with suppress(OSError, http.client.HTTPException):
                link.request("GET", page)
                link.getresponse().read()
            link.close()


def _cpu_seconds(root: int) -> float:
    return sum(machine.cpu_ns(machine.process_tree(root)).values()) / 1e9


_HEADS = (
    *("CPU %", "RSS MB", "own cmd/s", "of all %", "~at rate %", "writes/s", "jobs/s"),
    *("all cmd/s", "cmd/job"),
)


def line(cost: Cost) -> str:
    """One row."""
    cells = (
        *(f"{cost.cpu_percent:.2f}", f"{cost.rss_mb:.1f}", f"{cost.commands:.0f}"),
        *(f"{cost.share_percent:.2f}", f"{cost.share_at_rate:.2f}", f"{cost.writes:.1f}"),
        *(f"{cost.jobs:,.0f}", f"{cost.broker_commands:,.0f}", f"{cost.commands_per_job:.1f}"),
    )
    return "".join([f"{cost.system:10}{cost.monitor:22}", *(f"{cell:>11}" for cell in cells)])


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    args = _arguments(argv)
    costs: list[Cost] = []
    load = os.getloadavg()[0]
    heads = "".join(f"{head:>11}" for head in _HEADS)
    print(f"{args.workers} workers, {args.queues} queues, up to {args.rate:g} jobs/s")
    try:
        for system in args.systems:
            with redis_server() as port:
                print(f"\n{yardstick.words(port)}\n{'':32}{heads}", flush=True)
                with at_work(system, args, port) as broker:
                    for monitor in monitors(system, args, port):
                        try:
                            costs.append(measure(monitor, system, broker, args))
                        except RuntimeError as ended:
                            print(f"VOID {ended}", flush=True)
                        else:
                            print(line(costs[-1]), flush=True)
    except KeyboardInterrupt:
        return 130
    machine.conclude(load, {"costs": [asdict(cost) for cost in costs]}, args.json)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--peers", default=".venvs/bench", metavar="VENV", help="has the systems")
    parser.add_argument(
        "--bgtop", default=os.path.join(os.path.dirname(sys.executable), "bgtop"), metavar="FILE"
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=[*SYSTEMS], metavar="NAME")
    parser.add_argument("--workers", type=int, default=10, metavar="N")
    parser.add_argument("--queues", type=int, default=20, metavar="N")
    parser.add_argument("--rate", type=float, default=1_000, metavar="N", help="jobs a second")
    parser.add_argument("--interval", type=float, default=1, metavar="S", help="of bgtop")
    parser.add_argument("--settle", type=float, default=8, metavar="S", help="before measuring")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="of watching")
    parser.add_argument("--json", metavar="FILE", help="write all of it there")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
