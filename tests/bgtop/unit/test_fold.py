"""Samples become snapshots."""

from __future__ import annotations

from datetime import timedelta

from frames import INFO, T0, polled, queues

from bgtop.model import Reading, Snapshot, Source
from bgtop.state.fold import PollFailed, fold

EMPTY = Snapshot(taken_at=T0, sources=(Source(name="a", info=INFO), Source(name="b", info=INFO)))


def failed(attempts: int) -> PollFailed:
    at = T0 + timedelta(seconds=attempts)
    return PollFailed(source="a", at=at, message="refused", retry_at=at, attempts=attempts)


def test_a_reading_belongs_to_its_source() -> None:
    reading = queues("mail")

    a, b = fold(EMPTY, polled(reading)).sources

    assert (a.reading, a.poll_seconds, b.reading) == (reading, 0.004, None)


def test_a_failed_poll_keeps_the_last_reading_and_says_since_when() -> None:
    reading = queues("mail")
    snapshot = fold(EMPTY, polled(reading))

    for attempts in (1, 2, 3):
        snapshot = fold(snapshot, failed(attempts))

    source = snapshot.sources[0]
    assert source.reading is reading
    assert source.failure is not None
    assert source.failure.since == T0 + timedelta(seconds=1)
    assert source.failure.attempts == 3
    assert source.failure.retry_at == T0 + timedelta(seconds=3)


def test_a_good_poll_ends_a_failure() -> None:
    snapshot = fold(fold(EMPTY, failed(1)), polled(queues("mail")))

    assert snapshot.sources[0].failure is None


def test_a_snapshot_never_goes_back_in_time() -> None:
    early = Reading(taken_at=T0 - timedelta(hours=1))

    assert fold(EMPTY, polled(early)).taken_at == T0
