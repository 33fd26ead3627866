"""Under ``--compat`` we tell what the peers really told: see benchmarks/peer_metrics.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from frames import INFO, T0, frame, source
from prometheus_client.parser import text_string_to_metric_families

from bgtop.contracts import ExportSettings
from bgtop.exporters.prometheus import FrameCollector
from bgtop.model import Frame, QueueReading, Reading, WorkerReading, WorkerState
from bgtop.state.peer_counts import failures_by_class
from bgtop.task_events import (
    BUCKETS,
    EventKind,
    EventsReading,
    HistogramReading,
    TaskEventsReading,
)

PEERS: dict[str, dict[str, list[Any]]] = json.loads(
    (Path(__file__).parents[1] / "golden/peers.json").read_text()
)
UNTOLD = {"rq_workers_working_time", "celery_active_consumer_count"}
"""What we cannot tell, and what the peer tells on RabbitMQ only."""

HISTOGRAM = HistogramReading(counts=(1, *[0] * len(BUCKETS)), seconds=0.001)


def cluster() -> Frame:
    """Celery and RQ, each with a queue, a worker and jobs of every ending."""
    counts = dict.fromkeys(EventKind, 3)
    series = TaskEventsReading(
        task="shop.send",
        queue="mail",
        counts={**counts, EventKind.RECEIVED: 12},
        in_flight=0,
        runtime=HISTOGRAM,
        wait=HISTOGRAM,
        failures={"KeyError": 2},
    )
    events = EventsReading(since=T0, series=(series,), kinds=frozenset(EventKind))
    queue = QueueReading(
        name="mail", depth=4, running=0, failed=1, deferred=0, scheduled=2, consumers=1
    )
    worker = WorkerReading(
        name="celery@h1",
        state=WorkerState.IDLE,
        host="h1",
        queues=("mail",),
        concurrency=2,
        running=0,
        processed=9,
        failed=1,
    )
    reading = Reading(taken_at=T0, queues=(queue,), workers=(worker,))
    celery = source(replace(reading, events=events), name="a")
    rq = replace(source(reading, name="b"), info=replace(INFO, system="rq"))
    return frame(celery, rq)


def exposition(frame: Frame) -> str:
    from prometheus_client import CollectorRegistry, generate_latest

    collector = FrameCollector(ExportSettings(compat=tuple(PEERS)))
    collector.take(frame)
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def told(text: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(text):
        labels = sorted({name for each in family.samples for name in each.labels} - {"le"})
        bounds = {each.labels["le"] for each in family.samples if "le" in each.labels}
        found[family.name] = [family.type, labels, sorted(bounds, key=float)]
    return found


@pytest.mark.parametrize("peer", PEERS)
def test_names_types_labels_and_buckets_are_the_peer_s(peer: str) -> None:
    ours = told(exposition(cluster()))

    expected = {name: kind for name, kind in PEERS[peer].items() if name not in UNTOLD}
    assert {name: ours.get(name) for name in expected} == expected


def test_the_values_are_those_of_the_cluster() -> None:
    lines = set(exposition(cluster()).splitlines())
    failed = 'exception="KeyError",hostname="generic",name="shop.send",queue_name="mail"'

    assert {
        'flower_events_total{task="shop.send",type="task-failed",worker="generic"} 3.0',
        'flower_worker_online{worker="celery@h1"} 1.0',
        'flower_task_prefetch_time_seconds{task="shop.send",worker="generic"} 0.0',
        'celery_task_succeeded_total{hostname="generic",name="shop.send",queue_name="mail"} 3.0',
        f"celery_task_failed_total{{{failed}}} 2.0",
        'celery_worker_up{hostname="h1"} 1.0',
        'celery_queue_length{queue_name="mail"} 4.0',
        'celery_active_worker_count{queue_name="mail"} 1.0',
        'celery_active_process_count{queue_name="mail"} 2.0',
        'rq_workers{name="h1",queues="mail",state="idle"} 1.0',
        'rq_workers_success_total{name="h1",queues="mail"} 8.0',
        'rq_jobs{queue="mail",status="queued"} 4.0',
    } <= lines


def test_what_is_the_same_at_two_brokers_is_added_up() -> None:
    celery, _ = cluster().snapshot.sources
    twice = frame(celery, replace(celery, name="c"))

    lines = set(exposition(twice).splitlines())

    assert 'celery_queue_length{queue_name="mail"} 8.0' in lines
    assert 'celery_worker_up{hostname="h1"} 1.0' in lines


def test_failures_are_told_by_what_jobs_failed_with_and_not_by_why_they_were_tried_again() -> None:
    one = TaskEventsReading(
        task="t",
        counts={EventKind.FAILED: 5, EventKind.RETRIED: 9},
        exceptions={"OSError": 9, "MaxRetriesExceededError": 3},
        failures={"MaxRetriesExceededError": 3},
    )

    assert failures_by_class(one) == {"": 0, "MaxRetriesExceededError": 3, "UnknownException": 2}
