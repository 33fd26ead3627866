"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from bgtop.contracts import Backend, Interest

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgtop.model import QueueReading, Reading

T = TypeVar("T")


_SHORTEST, _LONGEST = 0.02, 0.1


def wait_until(
    condition: Callable[[], T | None],
    *,
    seconds: float = 10.0,
    every: float | None = None,
    why: str = "",
) -> T:
    """Return the first true value of ``condition``, asked for every ``every`` seconds.

    Without ``every`` it is asked 50 times a second at first and ten times a second later on: what
    is waited for needs the processor too.

    Raises:
        AssertionError: when ``seconds`` have passed; the message holds ``why`` and the last value.
    """
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        if waited >= seconds:
            raise AssertionError(f"not within {seconds:g} s: {why or condition!r}; last: {value!r}")
        time.sleep(every or min(max(_SHORTEST, waited / 10), _LONGEST))


def settled(
    backend: Backend, interest: Interest | None = None, *, seconds: float = 15.0
) -> Reading:
    """Poll until the backend says its reading is complete."""
    interest = interest or Interest()

    def complete() -> Reading | None:
        reading = backend.poll(interest)
        return reading if reading.complete else None

    return wait_until(complete, seconds=seconds, why="a complete reading")


def queue_in(reading: Reading, name: str) -> QueueReading | None:
    """The queue of this name, if the reading has it."""
    return next((queue for queue in reading.queues if queue.name == name), None)
