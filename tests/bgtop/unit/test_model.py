"""Values that are copied in a way of our own are what the usual way would make."""

from __future__ import annotations

from dataclasses import fields, replace

from bgtop.model import Age, QueueReading, WorkerReading, WorkerState


def test_a_queue_with_another_age_is_the_same_in_everything_else() -> None:
    given = {field.name: number for number, field in enumerate(fields(QueueReading))}
    reading = QueueReading(**given)  # type: ignore[arg-type]

    assert reading.aged(Age(7.0)) == replace(reading, oldest=Age(7.0))
    assert reading.aged(None) == replace(reading, oldest=None)
    assert reading == QueueReading(**given)  # type: ignore[arg-type]


def test_a_worker_that_was_judged_is_the_same_in_everything_else() -> None:
    given = {field.name: number for number, field in enumerate(fields(WorkerReading))}
    reading = WorkerReading(**given)  # type: ignore[arg-type]

    assert reading.judged(WorkerState.DEAD) == replace(reading, state=WorkerState.DEAD)
    assert reading == WorkerReading(**given)  # type: ignore[arg-type]
