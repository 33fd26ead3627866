"""Celery's own words, recorded once from real workers, and what may happen to them on the way."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import pytest

from bgtop.backends.celery.event_fold import DELAY, STALLED, EventFold
from bgtop.backends.celery.event_gaps import Gaps
from bgtop.backends.celery.event_wire import Presence, Reader, body_in
from bgtop.state.events import TaskEvent
from bgtop.task_events import EventKind, EventsReading

SENT, RECEIVED, STARTED = EventKind.SENT, EventKind.RECEIVED, EventKind.STARTED
SUCCEEDED, FAILED, RETRIED = EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RETRIED
REVOKED, LOST = EventKind.REVOKED, EventKind.LOST
ENDINGS = set(EventKind) - {SENT, RECEIVED, STARTED}

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
DEAD_AFTER = 30.0
RECORDED = json.loads((Path(__file__).parent / "celery_5_7_events.json").read_text())
"""Two prefork workers, one after the other, do each kind of task twice over.

The first is stopped while it runs ``wait``, the second is killed while it runs ``hold``.
"""

TRUTH = {
    ("add", "mail"): {SENT: 14, RECEIVED: 14, STARTED: 12, SUCCEEDED: 12, REVOKED: 2},
    ("falter", "mail"): {SENT: 6, RECEIVED: 6, STARTED: 6, FAILED: 6},
    ("again", "mail"): {SENT: 12, RECEIVED: 12, STARTED: 12, RETRIED: 8, SUCCEEDED: 4},
    ("decline", "mail"): {SENT: 4, RECEIVED: 4, STARTED: 4, FAILED: 4},
    ("wait", "mail"): {SENT: 1, RECEIVED: 1, STARTED: 1, SUCCEEDED: 1},
    ("hold", "mail"): {SENT: 1, RECEIVED: 1, STARTED: 1, LOST: 1},
}


def payload(body: object) -> bytes:
    """The message on Redis."""
    envelope: str = RECORDED["envelope"]
    return (envelope % b64encode(json.dumps(body).encode()).decode()).encode()


def heard(messages: list[tuple[float, bytes]], end: float) -> EventsReading:
    """What is known some time after all that."""
    fold = EventFold(DEAD_AFTER, 0.0)
    fold.listening(0.0, NOW)
    for at, message in messages:
        fold.look(at)
        fold.hear(body_in(message), at)
        fold.advance(at)
    now = max((at for at, _ in messages), default=0.0)
    while now < end:
        now += STALLED / 2
        fold.look(now)
        fold.advance(now)
        check(fold.reading())
    reading = fold.reading()
    assert reading is not None
    return reading


def check(reading: EventsReading | None) -> None:
    assert reading is not None
    for series in reading.series:
        assert series.in_flight is not None
        assert series.in_flight >= 0
        assert all(count > 0 for count in series.counts.values())


def messages() -> list[tuple[float, bytes]]:
    return [(at, payload(body)) for at, body in RECORDED["bodies"]]


def counted(reading: EventsReading) -> dict[tuple[str | None, str | None], dict[EventKind, int]]:
    return {(one.task, one.queue): dict(one.counts) for one in reading.series}


def test_what_was_recorded_is_counted_exactly() -> None:
    stream = messages()
    reading = heard(stream, stream[-1][0] + 2 * DEAD_AFTER)

    assert counted(reading) == TRUTH
    assert {one.in_flight for one in reading.series} == {0}
    assert reading.missed == 0


def test_what_is_told_twice_counts_once() -> None:
    stream = [message for message in messages() for _ in range(2)]
    reading = heard(stream, stream[-1][0] + 2 * DEAD_AFTER)
    assert counted(reading) == TRUTH


@pytest.mark.parametrize("seed", range(8))
def test_gaps_doubles_and_another_order_make_no_nonsense(seed: int) -> None:
    """At rest nothing is in flight, and everything received has one end."""
    chance = random.Random(seed)
    stream = [message for message in messages() if chance.random() > 0.3]
    stream += [message for message in stream if chance.random() < 0.2]
    # Everything is up to two seconds late.
    stream = sorted((at + chance.uniform(0, 2), message) for at, message in stream)
    reading = heard(stream, stream[-1][0] + 4 * DEAD_AFTER)

    total: Counter[EventKind] = Counter()
    for series in reading.series:
        total.update(series.counts)
    assert {one.in_flight for one in reading.series} == {0}
    assert sum(total[kind] for kind in ENDINGS) >= total[RECEIVED]
    assert total[STARTED] <= total[RECEIVED]


def test_the_queue_is_waited_for() -> None:
    """The worker's words are first, as they often are."""
    fold = EventFold(DEAD_AFTER, 0.0)
    fold.listening(0.0, NOW)
    base = {"uuid": "a", "hostname": "w@h", "pid": 1}
    fold.hear({**base, "type": "task-received", "name": "add", "timestamp": 1.0}, 0.0)
    fold.hear({**base, "type": "task-sent", "name": "add", "queue": "q", "timestamp": 1.0}, 0.1)
    fold.advance(DELAY)
    reading = fold.reading()
    assert reading is not None
    assert counted(reading) == {("add", "q"): {SENT: 1, RECEIVED: 1}}


def test_what_workers_tell_nothing_of_is_not_lost() -> None:
    """Producers tell what they send; a worker without -E runs it, which its heartbeats show.

    Nor an hour after it was given up for one that tells.
    """
    fold = EventFold(DEAD_AFTER, 0.0)
    fold.listening(0.0, NOW)
    sent = {"type": "task-sent", "uuid": "a", "name": "add", "queue": "q", "timestamp": 1.0}
    other = {"type": "task-received", "uuid": "b", "hostname": "v@h", "pid": 2, "timestamp": 1.0}
    beat = {"type": "worker-heartbeat", "hostname": "w@h", "pid": 1, "active": 0, "freq": 2.0}
    fold.hear(sent, 0.1)
    fold.hear({**other, "name": "add"}, 0.1)
    for at in range(2, 3700, 2):
        fold.look(at)
        if at < 60:
            fold.hear({**beat, "timestamp": at, "clock": at, "processed": min(at // 2, 9)}, at)
        fold.advance(at)

    reading = fold.reading()
    assert reading is not None
    assert counted(reading)["add", "q"] == {SENT: 1}


RUBBISH = (
    None,
    7,
    "words",
    [],
    [1, None, "x", {}],
    {"type": "task-started"},
    {"type": ["task-started"], "uuid": "a", "timestamp": 1},
    {"type": "task-started", "uuid": 7, "timestamp": 1},
    {"type": "task-started", "uuid": "a" * 1000, "timestamp": 1},
    {"type": "task-started", "uuid": "a", "timestamp": float("nan")},
    {"type": "task-started", "uuid": "a", "timestamp": True},
    {"type": "task-started", "uuid": "a", "timestamp": 10**400},
    {"type": "worker-heartbeat", "hostname": None},
    {"type": "worker-heartbeat", "hostname": "w", "pid": "1"},
)


@pytest.mark.parametrize("body", RUBBISH)
def test_rubbish_is_no_event(body: object) -> None:
    told: list[object] = []
    Reader().read(body, told.append)
    assert told == []


def test_what_is_hostile_is_cut() -> None:
    told: list[TaskEvent | Presence] = []
    event = {"type": "task-failed", "uuid": "a", "timestamp": 1.0, "hostname": "h" * 9999}
    Reader().read({**event, "pid": 1, "exception": "Bad\x1b[31m(secret=1)"}, told.append)
    [failed] = told
    assert isinstance(failed, TaskEvent)
    assert failed.exception == "Bad"
    assert len(failed.worker or "") < 300


LIMIT = """Traceback (most recent call last):
  File "pool.py", line 745, in on_hard_timeout
    raise TimeLimitExceeded(job._timeout)
billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)
"""


@pytest.mark.parametrize(
    ("kind", "said", "traceback", "name"),
    [
        ("task-failed", "KeyError('x')", "ValueError: y", "KeyError"),
        ("task-failed", "Ünglücks('x')", None, "Ünglücks"),
        ("task-failed", "ExceptionWithTraceback()", LIMIT, "TimeLimitExceeded"),
        ("task-failed", "ExceptionWithTraceback()", "", "ExceptionWithTraceback"),
        ("task-failed", "reject requeue=False: no", LIMIT.replace("TimeLimitExceeded", "Reject"),
         "Reject"),
        ("task-failed", "<strange>", 7, None),
        ("task-retried", "None", "\n  File ", None),
    ],
)  # fmt: skip
def test_the_class_of_an_exception_is_found_where_it_is_told(
    kind: str, said: str, traceback: object, name: str | None
) -> None:
    told: list[TaskEvent | Presence] = []
    event = {"type": kind, "uuid": "a", "timestamp": 1.0, "hostname": "h", "pid": 1}
    Reader().read({**event, "exception": said, "traceback": traceback}, told.append)
    [failed] = told
    assert isinstance(failed, TaskEvent)
    assert failed.exception == name


@pytest.mark.parametrize(
    "message", [b"", b"{", b'{"body": "%%%", "body_encoding": "base64"}', b"[" * 100_000]
)
def test_what_is_no_envelope_is_nothing(message: bytes) -> None:
    assert body_in(message) is None


def test_an_envelope_of_another_shape_is_read_as_well() -> None:
    """Written without blanks, or with a body that is not coded."""
    body = {"type": "worker-heartbeat"}
    coded = b64encode(json.dumps(body).encode()).decode()
    for text, properties in ((coded, {"body_encoding": "base64"}), (json.dumps(body), {})):
        envelope = {"body": text, "properties": properties}
        assert body_in(json.dumps(envelope, separators=(",", ":")).encode()) == body


class Life:
    """A worker that starts tasks, of which we hear or not."""

    def __init__(self, gaps: Gaps) -> None:
        self.gaps = gaps
        self.clock = self.processed = 0

    def start(self, tasks: int, *, heard: bool = True, quiet: bool = False) -> None:
        for _ in range(tasks):
            self.processed += 1
            if not quiet:
                self.clock += 3
            if heard and not quiet:
                for number in range(3):
                    self.gaps.hear("w", started=number == 1)

    def beat(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock += 1
            self.gaps.hear("w", started=False)
            self.gaps.beat("w", self.processed, self.clock)


def test_a_worker_that_is_heard_has_missed_nothing_whatever_its_clock_does() -> None:
    gaps = Gaps()
    life = Life(gaps)
    for number in range(10):
        life.start(number)
        life.clock += 77  # another worker's heartbeat, or a command
        life.beat()
    gaps.deaf()
    life.beat(3)
    assert gaps.missed == 0


def test_what_was_started_while_we_were_deaf_was_missed() -> None:
    gaps = Gaps()
    life = Life(gaps)
    life.start(5)
    life.beat(3)
    gaps.deaf()
    life.start(4, heard=False)
    life.beat(3)
    assert gaps.missed == 4
    life.start(2)
    life.beat(3)
    assert gaps.missed == 4


def test_no_more_is_missed_than_the_clock_has_ticked() -> None:
    """Tasks that tell nothing let the clock stand still."""
    gaps = Gaps()
    life = Life(gaps)
    life.start(5)
    life.beat(3)
    gaps.deaf()
    life.start(9, quiet=True)
    life.beat(3)
    assert gaps.missed == 0


def test_a_worker_with_quiet_tasks_proves_nothing() -> None:
    gaps = Gaps()
    life = Life(gaps)
    life.start(5)
    life.beat(3)
    life.start(1, quiet=True)
    life.beat(3)
    gaps.deaf()
    life.start(9, heard=False)
    life.beat(3)
    assert gaps.missed == 0


def test_a_clock_is_told_of_any_name() -> None:
    fold = EventFold(DEAD_AFTER, 0.0)
    fold.listening(0.0, NOW)
    for name, offset in (("w@\ud800\x1b", 60.0), ("fine@h", 4.0)):
        at = NOW.timestamp() + offset
        fold.hear({"type": "worker-heartbeat", "hostname": name, "pid": 7, "timestamp": at}, 0.0)
    fold.advance(1.0)

    [found] = fold.findings()
    assert (found.code, found.evidence) == (
        "clock-drift",
        "its clock is about 60 s ahead of the one here",
    )
    assert found.subject.encode()


def test_one_late_heartbeat_is_no_other_clock() -> None:
    fold = EventFold(DEAD_AFTER, 0.0)
    fold.listening(0.0, NOW)
    found = []
    for second, (once, ever) in enumerate([(60.0, 60.0), (0.0, 60.0), (0.0, 60.0)]):
        for name, late in (("once@h", once), ("ever@h", ever)):
            event = {"type": "worker-heartbeat", "hostname": name, "pid": 7}
            told = {**event, "timestamp": NOW.timestamp() + second - late}
            fold.hear(told, float(second))
        fold.advance(second + 0.5)
        found.append([one.subject for one in fold.findings()])

    assert found == [[], ["ever@h"], ["ever@h"]]
