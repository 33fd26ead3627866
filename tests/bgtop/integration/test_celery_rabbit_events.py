"""What bgtop counts of real Celery events on a real RabbitMQ is what really happened."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from celery_events import (
    MIX,
    PROCESSES,
    RECEIVED,
    STARTED,
    SUCCEEDED,
    check_mix,
    counted,
    events,
    followed,
    in_flight,
    send_mix,
    start_worker,
    totals,
    until,
)
from ending import kill
from other_clock import shifted
from prometheus_client.parser import text_string_to_metric_families
from rabbit_server import RabbitVhost
from redis_server import free_port
from scripted_source import BGTOP

from bgtop.backends import rabbit_events
from bgtop.backends.celery import event_listener, plugin
from bgtop.backends.celery.event_fold import STALLED
from bgtop.contracts import Backend, Interest, Settings
from bgtop.testing import wait_until

ENDED = sum(counts[RECEIVED] for counts in MIX.values())


@pytest.fixture
def celery(rabbit, make_celery):
    return make_celery(rabbit.url, confirm_publish=True)


def address(rabbit: RabbitVhost) -> str:
    return f"celery+{rabbit.monitor_url}?management={quote(rabbit.management, safe='')}"


def opened(rabbit: RabbitVhost):
    return closing(plugin.open(address(rabbit), Settings()))


def processed(backend: Backend) -> int:
    return sum(worker.processed or 0 for worker in backend.poll(Interest()).workers)


@contextmanager
def exported(source: str, folder: Path) -> Iterator[str]:
    """``bgtop export`` of this source; where it tells its numbers."""
    place = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [BGTOP, "export", source, "--interval", "0.5", "--prometheus", place],
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        yield f"http://{place}/metrics"
    finally:
        kill(process)


def told(url: str, family: str) -> dict[tuple[str, str], float]:
    """By task and event, what is not 0; how a task that declines ends depends on the release."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {
        (sample.labels.get("task", ""), sample.labels.get("event", "")): sample.value
        for found in text_string_to_metric_families(text)
        for sample in found.samples
        if sample.name == family and sample.value and sample.labels.get("task") != "decline"
    }


def test_every_outcome_is_counted_exactly(rabbit, celery, tmp_path) -> None:
    """By who reads the source, and by who scrapes ``bgtop export``."""
    start_worker(celery)
    truth = {
        (task, kind.value): float(count)
        for (task, _), counts in MIX.items()
        for kind, count in counts.items()
        if task != "decline"
    }
    with (
        opened(rabbit) as backend,
        followed(backend),
        exported(address(rabbit), tmp_path) as page,
    ):
        wait_until(lambda: len(ours(rabbit)) == 2, seconds=30, why="both listen")
        send_mix(celery, tmp_path)
        reading = until(
            backend,
            lambda reading: in_flight(reading) == 0 and totals(reading)[RECEIVED] >= ENDED,
        )
        counts = wait_until(
            lambda: (found := told(page, "bgtop_task_events_total")) == truth and found, seconds=30
        )
        balance = told(page, "bgtop_tasks_in_flight")

    check_mix(reading)
    assert (counts, balance) == (truth, {})


def test_what_did_not_fit_into_our_queue_is_missed(rabbit, celery, monkeypatch) -> None:
    """The queue keeps the newest; nobody is asked to wait for us."""
    monkeypatch.setitem(rabbit_events.LIMITS, "x-max-length", 20)
    monkeypatch.setattr(rabbit_events, "AHEAD", 10)
    node = start_worker(celery)
    with opened(rabbit) as backend, followed(backend):
        celery.put("mail", 3)
        until(backend, lambda reading: totals(reading)[SUCCEEDED] == 3)
        for _ in range(3):
            wait_for_heartbeat(backend, node)
        monkeypatch.setattr(event_listener, "LULL", STALLED + 1)
        celery.put("mail", 100)
        wait_until(lambda: processed(backend) == 103, seconds=20)
        monkeypatch.setattr(event_listener, "LULL", 0.0)
        reading = until(backend, lambda reading: reading.missed)

        # A task of which only the end was heard counts as started: one for each process.
        assert 0 < reading.missed <= 103 - totals(reading)[STARTED] + PROCESSES


def wait_for_heartbeat(backend: Backend, node: str) -> None:
    def last() -> object:
        [worker] = [one for one in backend.poll(Interest()).workers if one.name == node]
        return worker.last_heartbeat_at

    before = last()
    wait_until(lambda: last() != before, seconds=10, why="a heartbeat")


def test_counts_outlive_a_connection_that_is_lost(rabbit, celery) -> None:
    start_worker(celery)
    with opened(rabbit) as backend, followed(backend):
        celery.put("mail", 3)
        before = until(backend, lambda reading: totals(reading)[SUCCEEDED] == 3)
        [queue] = ours(rabbit)
        for connection in wait_until(lambda: connections(rabbit), seconds=20):
            rabbit.node.request("DELETE", "/connections/" + quote(connection, safe=""))
        wait_until(lambda: events(backend) and ours(rabbit) - {queue}, seconds=20)
        celery.put("mail", 2)
        after = until(backend, lambda reading: totals(reading)[SUCCEEDED] == 5)

    assert after.since == before.since
    assert counted(after)["add", "mail"][RECEIVED] == 5


def test_who_tells_nothing_is_found(rabbit, celery) -> None:
    """With the command that changes it; and that producers do not say what they send."""
    silent = celery.start_worker("silent", "quiet")
    with opened(rabbit) as backend:

        def found(code: str, queue: str):
            celery.put(queue)
            findings = backend.poll(Interest(checkup=True)).findings
            return next((one for one in findings if one.code == code), None)

        off = wait_until(lambda: found("events-off", "quiet"), seconds=30, every=0.5)
        celery.start_worker("telling", "mail", options=("-E",))
        sent = wait_until(lambda: found("task-sent-off", "mail"), seconds=30, every=0.5)

    assert (off.subject, sent.subject) == (silent, "celery")
    assert f"enable_events -d {silent}" in off.mend
    assert "task_send_sent_event" in sent.mend


@pytest.mark.parametrize("offset", [100, -100])
def test_a_worker_with_another_clock(rabbit, celery, tmp_path: Path, offset: int) -> None:
    late = celery.start_worker("late", "mail", **shifted(tmp_path, offset))
    celery.start_worker("right", "mail")
    with opened(rabbit) as backend:

        def drifting():
            findings = backend.poll(Interest(checkup=True)).findings
            return [one for one in findings if one.code == "clock-drift"]

        [found] = wait_until(drifting, seconds=30, every=0.5)

    side = "ahead of" if offset > 0 else "behind"
    assert (found.subject, found.evidence) == (
        late,
        f"its clock is about 100 s {side} the one here",
    )


def connections(rabbit: RabbitVhost) -> list[str]:
    """Those of bgtop in this vhost."""
    return [
        one["name"]
        for one in rabbit.node.get("/connections")
        if one.get("vhost") == rabbit.name
        and one.get("client_properties", {}).get("product") == "bgtop"
    ]


def ours(rabbit: RabbitVhost) -> set[str]:
    """The queues in which we hear of tasks."""
    bindings = rabbit.node.get(f"/exchanges/{rabbit.quoted}/celeryev/bindings/source")
    return {one["destination"] for one in bindings if one["routing_key"] == "task.#"}
