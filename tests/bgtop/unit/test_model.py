"""Values that are copied in a way of our own are what the usual way would make."""

from __future__ import annotations

from dataclasses import fields, replace

from bgtop.model import Age, QueueReading


def test_a_queue_with_another_age_is_the_same_in_everything_else() -> None:
    given = {field.name: number for number, field in enumerate(fields(QueueReading))}
    reading = QueueReading(**given)  # type: ignore[arg-type]

    assert reading.aged(Age(7.0)) == replace(reading, oldest=Age(7.0))
    assert reading.aged(None) == replace(reading, oldest=None)
    assert reading == QueueReading(**given)  # type: ignore[arg-type]
