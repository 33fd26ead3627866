"""Real tasks with known ends, and what bgtop counts of their events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from bgtop.contracts import Backend, BackendError, Interest
from bgtop.task_events import EventKind, EventsReading
from bgtop.testing import wait_until

if TYPE_CHECKING:
    # Not imported: it may be in another Python, which has the Celery to test with.
    from celery_cluster import CeleryCluster

PROCESSES = 2
PREFORK = ("-P", "prefork", "-c", str(PROCESSES))
SENT, RECEIVED, STARTED = EventKind.SENT, EventKind.RECEIVED, EventKind.STARTED
SUCCEEDED, FAILED, RETRIED = EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RETRIED
REVOKED, REJECTED, LOST = EventKind.REVOKED, EventKind.REJECTED, EventKind.LOST

MIX = {
    ("add", "mail"): {SENT: 7, RECEIVED: 7, STARTED: 6, SUCCEEDED: 6, REVOKED: 1},
    ("falter", "mail"): {SENT: 3, RECEIVED: 3, STARTED: 3, FAILED: 3},
    ("again", "mail"): {SENT: 6, RECEIVED: 6, STARTED: 6, RETRIED: 4, SUCCEEDED: 2},
    ("decline", "mail"): {SENT: 2, RECEIVED: 2, STARTED: 2},
}
"""By task and queue; how a task that declines its message ends depends on the release."""


def start_worker(
    celery: CeleryCluster,
    name: str = "w1",
    *options: str,
    queue: str = "mail",
    pool: tuple[str, ...] = PREFORK,
) -> str:
    """One that tells its events."""
    celery.app.conf.task_send_sent_event = True
    return celery.start_worker(
        name, queue, options=("-E", *options), pool=pool, TEST_SENT_EVENTS="1"
    )


def send_mix(celery: CeleryCluster, folder: Path) -> None:
    """What :data:`MIX` says."""
    past = datetime.now(timezone.utc) - timedelta(hours=1)
    celery.send("mail", "add", 1, 2, expires=past)
    for _ in range(6):
        celery.send("mail", "add", 1, 2)
    for _ in range(3):
        celery.send("mail", "falter", str(folder / "notes"))
    for _ in range(2):
        celery.send("mail", "again", 2)
        celery.send("mail", "decline")


def events(backend: Backend) -> EventsReading | None:
    """As of now; ``None`` while nothing can be read."""
    try:
        return backend.poll(Interest(events=True)).events
    except BackendError:
        return None


def counted(reading: EventsReading) -> dict[tuple[str | None, str | None], dict[EventKind, int]]:
    return {(one.task, one.queue): dict(one.counts) for one in reading.series}


def totals(reading: EventsReading) -> Counter[EventKind]:
    total: Counter[EventKind] = Counter()
    for one in reading.series:
        total.update(one.counts)
    return total


def in_flight(reading: EventsReading) -> int:
    return sum(one.in_flight or 0 for one in reading.series)


def until(backend: Backend, condition, seconds: float = 30.0, why: str = "") -> EventsReading:  # type: ignore[no-untyped-def]
    """Poll until the events are as wanted."""

    def there() -> EventsReading | None:
        reading = events(backend)
        return reading if reading is not None and condition(reading) else None

    try:
        found: EventsReading = wait_until(there, seconds=seconds, every=0.1, why=why)
    except AssertionError as error:
        last = events(backend)
        raise AssertionError(f"{error}: {last and counted(last)}") from error
    return found


@contextmanager
def followed(backend: Backend) -> Iterator[Backend]:
    """Events are heard from here on."""
    until(backend, lambda reading: True, why="events are followed")
    yield backend


def check_mix(reading: EventsReading) -> None:
    """Every outcome is read back exactly, by task and queue."""
    found = counted(reading)
    declined = found["decline", "mail"]
    assert declined.pop(FAILED, 0) + declined.pop(REJECTED, 0) == 2
    assert found == MIX, found
    assert in_flight(reading) == 0
    assert (reading.missed, reading.forgotten) == (0, 0), reading
    assert reading.kinds == frozenset(EventKind)
    by_task = {one.task: one for one in reading.series}
    assert by_task["falter"].exceptions == {"ValueError": 3}
    assert by_task["add"].runtime is not None
    assert by_task["add"].runtime.total == 6
    assert by_task["again"].wait is not None
    assert by_task["again"].wait.total == 6
