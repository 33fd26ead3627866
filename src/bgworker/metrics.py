"""A look at a queue as metrics for Prometheus; needs ``prometheus-client``.

No label holds the id of a job or of a process, nor a worker's name: their number has no bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bgworker.inspector import QueueStats, Stats
from bgworker.model import Millis
from bgworker.states import JobState
from bgworker.values import replace

MOST_QUEUES = 2000
"""Queues beyond this number are added up as one that is called ``other``."""
_ENDINGS = (JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED)


def exposition(stats: Stats, now: Millis, accept: str = "") -> tuple[bytes, str]:
    """The text of all metrics, in the format that ``accept`` asks for, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Look(stats, now))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Look(Collector):
    def __init__(self, stats: Stats, now: Millis) -> None:
        self._queues = folded(stats.queues)
        self._stats = stats
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from self._waiting()
        yield from self._ended()
        workers = GaugeMetricFamily("bgworker_workers", "Workers of this file.", labels=["state"])
        found = Counter(worker.state for worker in self._stats.workers)
        for state in ("active", "idle", "dead"):
            workers.add_metric([state], found[state])
        yield workers
        alive = [worker for worker in self._stats.workers if worker.state != "dead"]
        yield GaugeMetricFamily(
            "bgworker_slots",
            "Jobs that the live workers can run at once.",
            sum(worker.concurrency for worker in alive),
        )
        yield CounterMetricFamily(
            "bgworker_rescued", "Jobs taken back from dead workers.", self._stats.rescued
        )
        yield CounterMetricFamily(
            "bgworker_stale_writes",
            "Answers that came after their job had been taken away.",
            self._stats.stale_writes,
        )

    def _waiting(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily(
            "bgworker_jobs", "Stored jobs by state.", labels=["queue", "state"]
        )
        age = GaugeMetricFamily(
            "bgworker_oldest_age_seconds",
            "How long the oldest waiting job could have run already; 0 if none waits.",
            labels=["queue"],
        )
        paused = GaugeMetricFamily(
            "bgworker_queue_paused", "1 if no worker may start its jobs.", labels=["queue"]
        )
        for queue in self._queues:
            for state, n in queue.states.items():
                jobs.add_metric([queue.name, state.value], n)
            since = self._now if queue.available_since is None else queue.available_since
            age.add_metric([queue.name], max(0, self._now - since) / 1000)
            paused.add_metric([queue.name], queue.paused)
        yield from (jobs, age, paused)

    def _ended(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "bgworker_jobs_ended", "Jobs that ever ended, by how.", labels=["queue", "state"]
        )
        retries = CounterMetricFamily("bgworker_retries", "Tries after a first.", labels=["queue"])
        runs = SummaryMetricFamily(
            "bgworker_run_seconds", "Runs that ended, and how long they took.", labels=["queue"]
        )
        for queue in self._queues:
            for state in _ENDINGS:
                ended.add_metric([queue.name, state.value], getattr(queue, f"{state.value}_total"))
            retries.add_metric([queue.name], queue.retried_total)
            runs.add_metric([queue.name], count_value=queue.runs, sum_value=queue.run_ms / 1000)
        yield from (ended, retries, runs)


def folded(queues: Sequence[QueueStats], most: int = MOST_QUEUES) -> Sequence[QueueStats]:
    """At most ``most`` queues; from there on they are added up, under the name ``other``."""
    if len(queues) <= most:
        return queues
    kept, rest = queues[: most - 1], queues[most - 1 :]
    other = replace(rest[0], name="other", paused=all(queue.paused for queue in rest))
    sums = ("succeeded", "failed", "dead", "cancelled", "retried")
    totals = {f"{name}_total" for name in sums} | {"runs", "run_ms"}
    added = {name: sum(getattr(queue, name) for queue in rest) for name in totals}
    since = [queue.available_since for queue in rest if queue.available_since is not None]
    states = {state: sum(queue.states[state] for queue in rest) for state in JobState}
    other = replace(other, states=states, available_since=min(since, default=None), **added)
    return [*kept, other]
