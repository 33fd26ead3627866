"""What the conformance tests of Celery share, whatever its broker is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

import redis
from celery_desk import PREFORK
from run_log import RunLog

from bgtop.actions import PurgeQueue
from bgtop.backends.celery import plugin
from bgtop.contracts import Backend
from bgtop.model import JobState
from bgtop.testing import ActionSuite, BackendHooks, JobHooks, queue_in, settled, wait_until

if TYPE_CHECKING:
    # Not imported: it may be in another Python, which has the Celery to test with.
    from celery_cluster import CeleryCluster


class CelerySource(BackendHooks):
    """Filled and consumed by ``celery``, which the test sets."""

    plugin = plugin
    system = "celery"
    celery: CeleryCluster

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.celery.put(queue, count, priority=priority)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.celery.holding(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        node = self.celery.start_worker("w1", *queues)
        yield node
        self.celery.stop(node)

    @contextmanager
    def telling_worker(self, *queues: str) -> Iterator[str]:
        node = self.celery.start_worker("w1", *queues, options=("-E",))
        yield node
        self.celery.stop(node)


class CeleryJobs(CelerySource, JobHooks):
    """Tasks that note their runs, and leave results in ``results``, which the test sets."""

    results: redis.Redis

    @property
    def log(self) -> RunLog:
        return RunLog(self.celery.folder)

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        task = "run.bad" if state is JobState.FAILED else "run.good"
        countdown = 3600 if state is JobState.SCHEDULED else None
        ids = [self.celery.send(queue, task, countdown=countdown) for _ in range(count)]
        if state in {JobState.FAILED, JobState.SUCCEEDED}:
            with self.a_worker(queue):
                wait_until(
                    lambda: (
                        self.results.exists(*(f"celery-task-meta-{id_}" for id_ in ids)) == count
                    ),
                    seconds=self.patience,
                    why=f"{ids} have ended",
                )
        return ids

    @contextmanager
    def a_worker(self, *queues: str, **options: tuple[str, ...]) -> Iterator[str]:
        node = self.celery.start_worker("w2", *queues, **options)
        yield node
        self.celery.stop(node)

    @contextmanager
    def running_jobs(self, queue: str, count: int) -> Iterator[Sequence[str]]:
        self.log.gate.unlink(missing_ok=True)
        with self.a_worker(queue, pool=PREFORK):
            ids = [self.celery.send(queue, "run.long") for _ in range(count)]
            wait_until(
                lambda: all(self.begun(id_) for id_ in ids), seconds=self.patience, why="they run"
            )
            try:
                yield ids
            finally:
                self.log.gate.touch()

    def work_off(self, *queues: str) -> None:
        with self.a_worker(*queues), closing(self.open_backend()) as backend:
            settled(backend)
            # A worker that has just taken a message holds it, for a moment, where nobody sees it:
            # told to stop then, it gives it back. So it has to be empty twice.
            looks = [False]

            def stays_empty() -> bool:
                looks.append(self._is_empty(backend, queues))
                return looks[-2:] == [True, True]

            wait_until(stays_empty, seconds=self.patience)

    def _is_empty(self, backend: Backend, queues: Sequence[str]) -> bool:
        reading = settled(backend)
        found = [queue_in(reading, name) for name in queues]
        return not any(queue is not None and (queue.depth or queue.unacked) for queue in found)

    def begun(self, id_: str) -> int:
        return self.log.count("begun", id_)

    def ended(self, id_: str) -> int:
        return self.log.count("ended", id_)


class CeleryActions(CeleryJobs, ActionSuite):
    """What is different with Celery."""

    sendable = "run.good"

    def test_a_purged_queue_is_empty(self, operator: Backend) -> None:
        """What is not due yet lies in the same lists, and goes too; other queues stay."""
        purged = [
            *self.jobs_in(JobState.WAITING, "alpha", 3),
            *self.jobs_in(JobState.SCHEDULED, "alpha", 2),
        ]
        (other,) = self.jobs_in(JobState.WAITING, "beta", 1)

        assert operator.perform(PurgeQueue(queue="alpha")).changed == 5
        depths = {queue.name: queue.depth for queue in settled(operator).queues}
        assert (depths.get("alpha", 0), depths["beta"]) == (0, 1)
        self.work_off("alpha", "beta")
        assert [self.begun(id_) for id_ in (*purged, other)] == [0] * 5 + [1]
