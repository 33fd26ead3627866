"""What ``bgtop wait`` waits for."""

from __future__ import annotations

from dataclasses import replace

from frames import T0, frame, queues, source

from bgtop.model import Failure, Frame, QueueReading, Reading
from bgtop.state.goals import Goal, progress_of


def seen(**numbers: int | None) -> Frame:
    return frame(source(Reading(taken_at=T0, queues=(QueueReading(name="q", **numbers),))))  # type: ignore[arg-type]


def reached(found: Frame, **goal: object) -> bool:
    return progress_of(found, [Goal(queue="q", **goal)]).reached  # type: ignore[arg-type]


def test_empty_is_that_nothing_waits() -> None:
    assert reached(seen(depth=0, unacked=3))
    assert not reached(seen(depth=1))


def test_idle_is_that_nothing_runs_either() -> None:
    assert not reached(seen(depth=0, unacked=1, running=0), idle=True)
    assert not reached(seen(depth=0, running=1), idle=True)
    assert reached(seen(depth=0, running=0), idle=True)


def test_what_cannot_be_told_is_not_reached() -> None:
    assert not reached(seen(depth=None))
    assert not reached(seen(depth=0), idle=True)


def test_short_enough() -> None:
    assert reached(seen(depth=4), below=5)
    assert not reached(seen(depth=5), below=5)


def test_a_queue_that_is_not_there_is_empty_only_if_everything_was_read() -> None:
    other = source(queues("other"))
    failing = source(None, name="b", failure=Failure(message="refused", since=T0))
    half = source(replace(queues("other"), complete=False))

    assert progress_of(frame(other), [Goal(queue="q")]).absent == ("q",)
    assert reached(frame(other))
    assert progress_of(frame(other, failing), [Goal(queue="q")]).lacks == ("b: refused",)
    assert not reached(frame(half))
    assert not reached(frame(source(None)))
    # Celery's workers are heard every two seconds, and nobody waits for them here.
    assert reached(frame(source(replace(queues("other"), complete=False, counted=True))))


def test_every_queue_of_the_name_counts() -> None:
    reading = Reading(taken_at=T0, queues=(QueueReading(name="q", depth=0),))
    full = Reading(taken_at=T0, queues=(QueueReading(name="q", depth=2),))

    assert not reached(frame(source(reading), source(full, name="b")))
