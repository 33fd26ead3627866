"""``bgtop export`` into real StatsD, Bucky and Graphite: what whisper has is what was counted."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ending import end, kill
from frames import frame, source
from receivers import Bucky, Carbon, Statsd
from scripted_source import BGTOP, Script, events_of, install

from bgtop.contracts import ExportSettings
from bgtop.exporters import graphite
from bgtop.model import QueueReading, Reading
from bgtop.session import now
from bgtop.testing import wait_until

TASK = "bgtop.scripted.script_json.task.shop_send"
COUNTS = {"sent": 40, "received": 30, "started": 20, "succeeded": 12, "failed": 3, "retried": 2}


class Stack:
    """Everything between a scripted source and whisper."""

    def __init__(self, folder: Path) -> None:
        self.carbon = Carbon(folder / "carbon")
        self.statsd = Statsd(folder / "statsd", self.carbon)
        self.bucky = Bucky(folder / "bucky", self.carbon)
        self.script = Script(folder / "script.json")
        self.counts = dict(COUNTS)
        self.errors = folder / "errors"
        self.environment = {**os.environ, **install(folder / "site"), "HOME": str(folder)}
        self.export: subprocess.Popen[bytes] | None = None
        self.processes = [self.carbon, self.statsd, self.bucky]

    def tell(self, **counts: int) -> None:
        """The source has counted this besides."""
        self.counts |= {kind: self.counts[kind] + count for kind, count in counts.items()}
        series = {
            "task": "shop.send",
            "queue": "mail",
            "counts": self.counts,
            "in_flight": self.counts["received"] - 17,
            "runtime": [[0, 0, 0, 0, 0, 10, 5], 2.0],
        }
        events = {"since": 1, "series": [series]}
        self.script.write(queues=[{"name": "mail.bulk", "depth": 7}], events=events)

    def start(self) -> None:
        self.carbon.start()
        self.statsd.start()
        self.bucky.start()
        self.tell()
        with self.errors.open("wb") as errors:
            self.export = subprocess.Popen(
                [
                    *(BGTOP, "export", self.script.url, "--interval", "0.5"),
                    *("--statsd", f"127.0.0.1:{self.statsd.port}"),
                    *("--statsd", f"udp://127.0.0.1:{self.bucky.port}"),
                    *("--graphite", f"127.0.0.1:{self.carbon.port}"),
                ],
                env=self.environment,
                stderr=errors,
            )

    def close(self) -> None:
        for process in self.processes:
            process.close()
        if self.export is not None:
            kill(self.export)

    def has_counted(self, tree: str = "stats_counts") -> bool:
        told = {kind: self.carbon.total(f"{tree}.{TASK}.{kind}") for kind in self.counts}
        return told == self.counts

    @property
    def words(self) -> str:
        return self.errors.read_text()

    def said(self, words: str) -> bool:
        return words in self.words


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("push"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_whisper_has_behind_statsd_exactly_what_was_counted(stack: Stack) -> None:
    carbon = stack.carbon

    wait_until(stack.has_counted, seconds=60)
    wait_until(lambda: carbon.last(f"stats.timers.{TASK}.runtime.count") is not None, seconds=20)

    assert carbon.total(f"stats.timers.{TASK}.runtime.count") == 15
    assert carbon.total(f"stats.timers.{TASK}.runtime.sum") == pytest.approx(2000)
    queue = "bgtop.scripted.script_json.queue.mail_bulk.depth"
    assert carbon.last(f"stats.gauges.{queue}") == 7
    assert carbon.last(f"stats.gauges.{TASK}.in_flight") == 13


def test_whisper_has_behind_bucky_exactly_what_was_counted(stack: Stack) -> None:
    wait_until(lambda: stack.has_counted("bucky.stats_counts"), seconds=60)


def test_whisper_has_the_counts_themselves_from_graphite_s_own_protocol(stack: Stack) -> None:
    carbon = stack.carbon

    def told() -> bool:
        return {kind: carbon.last(f"{TASK}.{kind}") for kind in stack.counts} == stack.counts

    wait_until(told, seconds=60)
    assert carbon.last(f"{TASK}.runtime.count") == 15
    assert carbon.last(f"{TASK}.runtime.sum") == pytest.approx(2000)
    assert carbon.last(f"{TASK}.runtime.mean") == pytest.approx(2000 / 15)
    assert carbon.last("bgtop.scripted.script_json.up") == 1


def test_what_happens_while_statsd_is_away_is_counted_when_it_is_back(stack: Stack) -> None:
    wait_until(stack.has_counted, seconds=60)
    stack.statsd.stop()
    stack.tell(received=5, succeeded=4)
    wait_until(lambda: stack.said("--statsd: 127.0.0.1:"), seconds=30)
    stack.statsd.start()

    wait_until(stack.has_counted, seconds=60)
    wait_until(lambda: stack.said("--statsd: works again"), seconds=30)
    # Counts waited; of gauges only the newest value is worth anything.
    assert re.search(r"--statsd: works again; \d+ numbers were dropped$", stack.words, re.MULTILINE)


def test_what_graphite_did_not_take_comes_later_with_its_own_time(stack: Stack) -> None:
    carbon = stack.carbon
    wait_until(lambda: carbon.last(f"{TASK}.received") == stack.counts["received"], seconds=30)
    before = max(carbon.points(f"{TASK}.received"))
    carbon.stop()
    wait_until(lambda: stack.said("--graphite: 127.0.0.1:"), seconds=30)
    stack.tell(received=1)
    wait_until(lambda: int(now().timestamp()) > before + 5, seconds=30)
    carbon.start()

    wait_until(lambda: carbon.last(f"{TASK}.received") == stack.counts["received"], seconds=60)
    wait_until(lambda: stack.said("--graphite: works again"), seconds=30)
    stored = carbon.points(f"{TASK}.received")
    missing = [at for at in range(before, before + 5) if at not in stored]
    # The clock of one reading to the next is not exactly a second.
    assert len(missing) <= 1


def test_it_ends_at_once_when_told_to(stack: Stack) -> None:
    assert stack.export is not None
    assert stack.export.poll() is None, stack.errors.read_text()
    end(stack.export)
    assert stack.export.returncode == 0
    assert "Traceback" not in stack.errors.read_text()


def test_pickle_and_tags_arrive_as_they_were_sent(stack: Stack) -> None:
    carbon = stack.carbon
    reading = Reading(taken_at=now(), queues=(QueueReading(name="mail", depth=3),))
    settings = ExportSettings(prefix="pickled", dropped=dict)
    address = f"pickle://127.0.0.1:{carbon.pickle_port}"
    exporter = graphite.plugin.open(address, settings)
    try:
        exporter.export(frame(source(reading)))
        wait_until(lambda: carbon.last("pickled.celery.a.queue.mail.depth") == 3, seconds=30)
    finally:
        exporter.close()
    assert exporter.trouble is None


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_by_a_stream_statsd_counts_the_same(stack: Stack, way: str) -> None:
    from bgtop.exporters import statsd

    carbon = stack.carbon
    where = {"tcp": f"tcp://127.0.0.1:{stack.statsd.port}", "unix": f"unix:{stack.statsd.socket}"}
    series: dict[str, Any] = {"task": "t", "counts": {"sent": 5000}, "wait": [[900], 0.9]}
    reading = Reading(taken_at=now(), events=events_of({"series": [series]}))
    exporter = statsd.plugin.open(where[way], ExportSettings(prefix=way))
    try:
        exporter.export(frame(source(reading)))
        name = f"{way}.celery.a.task.t"
        wait_until(lambda: carbon.total(f"stats_counts.{name}.sent") == 5000, seconds=30)
        timer = f"stats.timers.{name}.wait.count"
        wait_until(lambda: carbon.total(timer) == 900, seconds=30)
    finally:
        exporter.close()
