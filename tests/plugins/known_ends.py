"""Real Celery tasks whose ends are known, and what each way of telling says of them at rest.

``python known_ends.py --tasks 10000`` (``make mixes``) prints a table for Redis and RabbitMQ, and
ends with 1 when a figure is another than the truth; a test does the same with a few hundred.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from celery_events import start_worker
from ending import kill
from rabbit_server import RabbitNode
from receivers import Bucky, Carbon, Prometheus, Render, Statsd
from redis_server import RedisServer, free_port
from scripted_source import BGTOP
from worlds import open_cluster

from bgtop.task_events import EventKind
from bgtop.testing import wait_until

if TYPE_CHECKING:
    from celery_cluster import CeleryCluster

DASHBOARD: Final = Path(__file__).parents[2] / "deploy/grafana/graphite.json"
RETRIES: Final = 2
_TREE: Final = "bgtop.celery.*.task"
_ENDS: Final = "succeeded|failed|retried|revoked|rejected|lost"

Counts = dict[tuple[str, str], float]
"""How often what happened, by task and event."""


class Sight(NamedTuple):
    """What was seen at rest.

    ``unfinished`` is what was received without any end, ``unsuccessful`` without a good one.
    """

    counts: Counts
    in_flight: float | None
    unfinished: float | None
    unsuccessful: float | None


class Plan(NamedTuple):
    """How many tasks of each kind; those that retry do so twice and succeed then."""

    succeed: int
    fail: int
    retry: int
    revoked: int
    held: int

    @classmethod
    def of(cls, tasks: int) -> Plan:
        """So many in all, most of which succeed."""
        fail, retry, revoked, held = tasks // 10, tasks // 15, tasks // 20, tasks // 100
        return cls(tasks - fail - retry - revoked - held, fail, retry, revoked, held)

    def seen(self, *, lost: bool) -> Sight:
        """The truth, before and after the worker that holds some was killed."""
        every = ("sent", "received", "started")
        counts: Counts = {("add", "succeeded"): self.succeed, ("add", "started"): self.succeed}
        counts |= {("add", kind): self.succeed + self.revoked for kind in every[:2]}
        counts |= {("add", "revoked"): self.revoked}
        counts |= {("falter", kind): self.fail for kind in (*every, "failed")}
        counts |= {("again", kind): self.retry * (1 + RETRIES) for kind in every}
        counts |= {("again", "retried"): self.retry * RETRIES, ("again", "succeeded"): self.retry}
        counts |= {("hold", kind): self.held for kind in (*every, *(["lost"] if lost else []))}
        received = sum(count for (_, kind), count in counts.items() if kind == "received")
        waiting = 0 if lost else self.held
        return Sight(counts, waiting, waiting, received - self.succeed - self.retry)


def targets() -> dict[str, str]:
    """What the dashboard asks of Graphite, by the titles of its panels."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return {
        panel["title"]: re.sub(r"\$\w+", "*", target["target"])
        for panel in panels
        for target in panel["targets"]
    }


TARGETS: Final = targets()


class Receivers:
    """Everything that takes numbers, but for Prometheus, which fetches them."""

    def __init__(self, folder: Path) -> None:
        self.carbon = Carbon(folder / "carbon")
        self.statsd = Statsd(folder / "statsd", self.carbon)
        self.bucky = Bucky(folder / "bucky", self.carbon)
        self.render = Render(folder / "render", self.carbon)
        self.began = time.time()
        self._all = (self.carbon, self.statsd, self.bucky, self.render)

    def start(self) -> None:
        for receiver in self._all:
            receiver.start()

    def close(self) -> None:
        for receiver in self._all:
            receiver.close()

    def shown(self, target: str) -> float | None:
        """The newest value that Graphite renders for this target."""
        found = self.render.ask(target, since=f"-{time.time() - self.began + 60:.0f}s")
        values = [value for value, _ in found[0]["datapoints"]] if found else []
        return next((value for value in reversed(values) if value is not None), None)

    def sight(self, before: str) -> Sight:
        """What is stored and rendered of names that begin so (``bucky.``)."""
        made = {title: _under(before, TARGETS[title]) for title in (_UNFINISHED, "In flight")}
        received, succeeded = (
            f"integral(transformNull(sumSeries({before}stats_counts.{_TREE}.*.{kind}), 0))"
            for kind in ("received", "succeeded")
        )
        return Sight(
            _nonzero(self.carbon.totals(f"{before}stats_counts.{_TREE}")),
            self.shown(made["In flight"]),
            self.shown(made[_UNFINISHED]),
            self.shown(f"diffSeries({received}, {succeeded})"),
        )


_UNFINISHED: Final = "Received, not ended"


def _under(before: str, target: str) -> str:
    return target.replace("stats", f"{before}stats")


def _nonzero(counts: Counts) -> Counts:
    kinds = {kind.value for kind in EventKind}
    return {key: count for key, count in counts.items() if count and key[1] in kinds}


class Stage:
    """One application, and ``bgtop export`` between its broker and who takes the numbers."""

    def __init__(self, folder: Path, celery: CeleryCluster, source: str, dead_after: float) -> None:
        self.folder, self.celery = folder, celery
        self.receivers = Receivers(folder)
        port = free_port()
        self.prometheus = Prometheus(folder / "prometheus", port)
        self._command = [
            *(BGTOP, "export", source, "--interval", "0.5", "--dead-after", str(dead_after)),
            *("--prometheus", f"127.0.0.1:{port}", "--compat", "flower,celery-exporter"),
            *("--statsd", f"127.0.0.1:{self.receivers.statsd.port}"),
            *("--statsd", f"127.0.0.1:{self.receivers.bucky.port}"),
        ]
        self.export: subprocess.Popen[bytes] | None = None
        self._worker = self._doomed = ""

    def start(self) -> None:
        """Events are followed when this returns, and two workers are there."""
        self.receivers.start()
        self.prometheus.start()
        with (self.folder / "export.log").open("wb") as log:
            self.export = subprocess.Popen(
                self._command, env={**os.environ, "HOME": str(self.folder)}, stderr=log
            )
        self._worker = start_worker(self.celery)
        wait_until(lambda: self.prometheus.ask("bgtop_events_missed_total"), seconds=40, every=0.2)

    def close(self) -> None:
        self.prometheus.close()
        if self.export is not None:
            kill(self.export)
        self.receivers.close()

    def send(self, plan: Plan) -> None:
        """All tasks; those that are held have begun when this returns."""
        threads = ("-P", "threads", "-c", str(plan.held))
        self._doomed = start_worker(self.celery, "doomed", queue="doomed", pool=threads)
        notes = [self.folder / f"held-{number}" for number in range(plan.held)]
        for note in notes:
            self.celery.send("doomed", "hold", str(note))
        # Not by an age: RabbitMQ drops what is too old itself, and no worker ever sees it.
        unwanted = [str(uuid4()) for _ in range(plan.revoked)]
        wait_until(
            lambda: self.celery.app.control.revoke(
                unwanted, destination=[self._worker], reply=True
            ),
            seconds=30,
        )
        for one in unwanted:
            self.celery.send("mail", "add", 1, 2, task_id=one)
        for _ in range(plan.fail):
            self.celery.send("mail", "falter", str(self.folder / "notes"))
        for _ in range(plan.retry):
            self.celery.send("mail", "again", RETRIES)
        for _ in range(plan.succeed):
            self.celery.send("mail", "add", 1, 2)
        wait_until(lambda: all(note.exists() for note in notes), seconds=60, why="all are held")

    def lose(self) -> None:
        """Kill the worker that holds some."""
        self.celery.kill(self._doomed)

    def told(self) -> dict[str, Sight]:
        """What each way says now."""
        return {way: look(self) for way, look in WAYS.items()}

    def agree(self, truth: Sight, seconds: float) -> dict[str, Sight]:
        """Wait until every way tells the truth; what they told at the end."""
        with suppress(AssertionError):
            wait_until(
                lambda: all(look(self) == truth for look in WAYS.values()),
                seconds=seconds,
                every=0.3,
            )
        return self.told()

    def by_prometheus(self) -> Sight:
        """The sums of a real Prometheus."""
        rows = self.prometheus.ask("sum by (task, event) (bgtop_task_events_total)")
        counts = {
            (row["metric"].get("task", ""), row["metric"]["event"]): float(row["value"][1])
            for row in rows
        }
        received, ended, well = (
            f'sum(bgtop_task_events_total{{event=~"{kinds}"}})'
            for kinds in ("received", _ENDS, "succeeded")
        )
        return Sight(
            _nonzero(counts),
            self.prometheus.value("sum(bgtop_tasks_in_flight)"),
            self.prometheus.value(f"{received} - {ended}"),
            self.prometheus.value(f"{received} - {well}"),
        )


WAYS: Final[dict[str, Callable[[Stage], Sight]]] = {
    "Prometheus": Stage.by_prometheus,
    "StatsD": lambda stage: stage.receivers.sight(""),
    "Bucky": lambda stage: stage.receivers.sight("bucky."),
}


def play(stage: Stage, plan: Plan, seconds: float) -> Iterator[tuple[Sight, dict[str, Sight]]]:
    """At each of two rests the truth and what each way says: some are held; those are lost."""
    stage.send(plan)
    held = plan.seen(lost=False)
    yield held, stage.agree(held, seconds)
    stage.lose()
    lost = plan.seen(lost=True)
    yield lost, stage.agree(lost, seconds)


@contextmanager
def on_redis(folder: Path, dead_after: float) -> Iterator[tuple[Stage, RedisServer]]:
    """A stage with a Redis of its own."""
    with ExitStack() as stack:
        server = RedisServer(folder)
        server.start()
        stack.callback(server.stop)
        celery = open_cluster("celery", "CeleryCluster", server.url, folder)
        yield _opened(stack, Stage(folder, celery, f"celery+{server.url}", dead_after)), server


@contextmanager
def on_rabbitmq(folder: Path, dead_after: float) -> Iterator[tuple[Stage, RabbitNode]]:
    """A stage with a RabbitMQ of its own."""
    with ExitStack() as stack:
        node = RabbitNode(folder)
        node.start()
        stack.callback(node.close)
        vhost = stack.enter_context(node.vhost())
        source = f"celery+{vhost.monitor_url}?management={quote(vhost.management, safe='')}"
        celery = open_cluster("celery", "CeleryCluster", vhost.url, folder, confirm_publish=True)
        yield _opened(stack, Stage(folder, celery, source, dead_after)), node


def _opened(stack: ExitStack, stage: Stage) -> Stage:
    stack.callback(stage.celery.close)
    stack.callback(stage.close)
    stage.start()
    return stage


BROKERS: Final = {"redis": on_redis, "rabbitmq": on_rabbitmq}


def _report(truth: Sight, told: dict[str, Sight]) -> bool:
    """Print a table; whether all agree."""

    def line(words: str, wanted: float, figures: list[float | None]) -> bool:
        right = all(figure == wanted for figure in figures)
        cells = "".join(f"{'-' if one is None else f'{one:g}':>12}" for one in figures)
        print(f"{words:<28}{wanted:>10g}{cells}{'' if right else '   WRONG'}", flush=True)
        return right

    print(f"{'':<28}{'truth':>10}" + "".join(f"{way:>12}" for way in told))
    keys = sorted({*truth.counts, *(key for sight in told.values() for key in sight.counts)})
    right = [
        line(" ".join(key), truth.counts.get(key, 0), [s.counts.get(key) for s in told.values()])
        for key in keys
    ]
    for at, words in enumerate(("in flight", "received - ended", "received - succeeded"), start=1):
        right.append(line(words, truth[at], [sight[at] for sight in told.values()]))
    return all(right)


def main() -> int:
    """Exit code: 0 all agree, 1 somebody does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--broker", choices=[*BROKERS, "all"], default="all")
    parser.add_argument("--dead-after", type=float, default=30.0)
    args = parser.parse_args()
    right = True
    for name in BROKERS if args.broker == "all" else [args.broker]:
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            with BROKERS[name](Path(folder), args.dead_after) as (stage, _):
                for truth, told in play(stage, Plan.of(args.tasks), 120 + args.tasks / 20):
                    print(f"\n{name}, {args.tasks} tasks, {time.monotonic() - began:.0f} s")
                    right &= _report(truth, told)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
