"""Real Celery tasks with known ends, read back from a scrape and from whisper: all are there."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery_events import MIX, send_mix, start_worker
from ending import kill
from prometheus_client.parser import text_string_to_metric_families
from receivers import Carbon, Statsd
from redis_server import RedisServer, free_port
from scripted_source import BGTOP

from bgtop.testing import wait_until

if TYPE_CHECKING:
    from celery_cluster import CeleryCluster


Told = dict[tuple[str, str], float]
KNOWN: Told = {
    (task, kind.value): float(count)
    for (task, _), counts in MIX.items()
    for kind, count in counts.items()
    if task != "decline"  # how it ends depends on the release
}


def scraped(port: int, name: str, *labels: str) -> Told:
    """The samples of this name by two of their labels."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {
        (each.labels.get(labels[0], ""), each.labels.get(labels[1], "")): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.name == name
    }


def known(told: Told) -> Told:
    return {key: value for key, value in told.items() if value and key[0] != "decline"}


@pytest.fixture
def carbon(tmp_path: Path) -> Iterator[Carbon]:
    made = Carbon(tmp_path / "carbon")
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def statsd(tmp_path: Path, carbon: Carbon) -> Iterator[Statsd]:
    made = Statsd(tmp_path / "statsd", carbon)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_what_real_tasks_did_is_told_exactly_by_every_way(
    celery: CeleryCluster, redis_server: RedisServer, carbon: Carbon, statsd: Statsd, tmp_path: Path
) -> None:
    port = free_port()
    export = subprocess.Popen(
        [
            *(BGTOP, "export", f"celery+{redis_server.url}", "--interval", "0.5"),
            *("--prometheus", f"127.0.0.1:{port}", "--compat", "flower,celery-exporter"),
            *("--statsd", f"127.0.0.1:{statsd.port}"),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
    )

    def event_counts() -> Told:
        return known(scraped(port, "bgtop_task_events_total", "task", "event"))

    def in_whisper() -> Told:
        tree = f"stats_counts.bgtop.celery.127_0_0_1_{redis_server.port}-0.task"
        return {key: carbon.total(f"{tree}.{key[0]}.{key[1]}") for key in KNOWN}

    def up() -> list[float]:
        return [*scraped(port, "bgtop_source_up", "source", "system").values()]

    try:
        start_worker(celery)
        # Events are followed once something is told of the workers.
        wait_until(
            lambda: scraped(port, "bgtop_events_missed_total", "source", "system"), seconds=30
        )
        wait_until(lambda: scraped(port, "flower_worker_online", "worker", "job"), seconds=20)
        send_mix(celery, tmp_path)
        wait_until(lambda: event_counts() == KNOWN, seconds=60)
        wait_until(lambda: in_whisper() == KNOWN, seconds=60)

        flower = known(scraped(port, "flower_events_total", "task", "type"))
        assert {
            (task, kind.removeprefix("task-")): n for (task, kind), n in flower.items()
        } == KNOWN
        failed = scraped(port, "celery_task_failed_total", "name", "exception")
        assert {key: n for key, n in failed.items() if n and key[0] != "decline"} == {
            ("falter", "ValueError"): 3
        }
        assert (
            scraped(port, "celery_task_succeeded_total", "name", "queue_name")["add", "mail"] == 6
        )
        assert known(scraped(port, "bgtop_tasks_in_flight", "task", "source")) == {}

        # The broker goes and comes back: nothing that was counted is told anew, or differently.
        redis_server.stop()
        wait_until(lambda: 0.0 in up(), seconds=20)
        assert event_counts() == KNOWN
        redis_server.start()
        wait_until(lambda: 1.0 in up(), seconds=40)
        assert event_counts() == KNOWN
        assert export.poll() is None
    finally:
        kill(export)
