"""Queues without number become few series, and none of their jobs is lost on the way."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from bgworker.inspector import QueueStats, Stats
from bgworker.metrics import MOST_QUEUES, exposition, folded
from bgworker.states import JobState


def queue(number: int, *, since: int | None = None, paused: bool = False) -> QueueStats:
    return QueueStats(
        name=f"q{number:05}",
        states=dict.fromkeys(JobState, number),
        by_priority={},
        available_since=since,
        paused=paused,
        succeeded_total=number,
        failed_total=1,
        dead_total=2,
        cancelled_total=3,
        retried_total=4,
        runs=5,
        run_ms=6,
        last_ended_at=None,
    )


def test_few_queues_stay_themselves() -> None:
    queues = [queue(n) for n in range(3)]

    assert folded(queues, most=3) == queues


def test_the_rest_is_added_up() -> None:
    queues = [queue(0), queue(1, since=50), queue(2, since=20, paused=True), queue(3)]

    first, other = folded(queues, most=2)
    assert first == queues[0]
    assert other.name == "other"
    assert other.states == dict.fromkeys(JobState, 6)
    assert (other.succeeded_total, other.failed_total, other.dead_total) == (6, 3, 6)
    assert (other.cancelled_total, other.retried_total) == (9, 12)
    assert (other.runs, other.run_ms, other.available_since) == (15, 18, 20)
    assert not other.paused  # not all of it is


def test_the_number_of_series_has_a_bound() -> None:
    queues = tuple(queue(n) for n in range(3 * MOST_QUEUES))
    stats = Stats(queues=queues, workers=(), rescued=0, stale_writes=0)

    text, _ = exposition(stats, now=1_000)
    families = list(text_string_to_metric_families(text.decode()))
    names = {
        sample.labels["queue"]
        for family in families
        for sample in family.samples
        if "queue" in sample.labels
    }
    assert len(names) == MOST_QUEUES
    assert "other" in names
    (ended,) = [family for family in families if family.name == "bgworker_jobs_ended"]
    succeeded = [s.value for s in ended.samples if s.labels["state"] == "succeeded"]
    assert sum(succeeded) == sum(range(3 * MOST_QUEUES))


def test_names_of_queues_are_escaped() -> None:
    odd = 'a"b\\c\nd'
    named = replace(queue(1), name=odd)
    stats = Stats(queues=(named,), workers=(), rescued=0, stale_writes=0)

    text, _ = exposition(stats, now=1_000)
    families = text_string_to_metric_families(text.decode())
    assert {s.labels["queue"] for f in families for s in f.samples if "queue" in s.labels} == {odd}
