"""The Dramatiq backend against a real Redis, filled and consumed by real Dramatiq."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import redis
from dramatiq_source import DramatiqSource
from redis_source import PASSWORD, RedisSource, bad_urls
from run_log import RunLog

from bgtop.actions import Verb
from bgtop.contracts import Settings
from bgtop.model import Capability, JobState
from bgtop.testing import ActionSuite, JobSuite, wait_until


class TestDramatiqOnRedis(DramatiqSource, RedisSource, JobSuite, ActionSuite):
    verbs = frozenset({Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.REQUEUE, Verb.PURGE})
    job_states = frozenset({JobState.WAITING, JobState.SCHEDULED, JobState.DEAD})
    failed_state = JobState.DEAD

    # Dramatiq cannot do that.
    test_a_running_job_is_stopped_if_asked_for = None

    settings = Settings(connect_timeout=1, read_timeout=2, dead_after=6)
    capabilities = frozenset(
        {
            Capability.DEPTH,
            Capability.UNACKED,
            Capability.SCHEDULED,
            Capability.DEAD,
            Capability.OLDEST_AGE,
            Capability.WORKERS,
            Capability.HEARTBEATS,
            Capability.JOBS,
            Capability.EVENTS,
        }
    )
    patience = 30.0
    bad_urls = (
        *bad_urls("dramatiq"),
        f"dramatiq+redis://u:{PASSWORD}@h/0?namespace=",
        f"dramatiq+redis://u:{PASSWORD}@h/0?namespace=a%0Ab",
    )

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_dramatiq: Callable) -> None:
        self.dramatiq = make_dramatiq(self.redis.url)
        # Without it, each complete reading takes the five seconds in which a worker would beat.
        self.dramatiq.add_agent()

    @property
    def log(self) -> RunLog:
        return RunLog(self.dramatiq.folder)

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        if state is JobState.DEAD:
            ids = self.dramatiq.put_noted(queue, count, "bad")
            worker = self.dramatiq.start_worker(queue, agent=True)
            self._wait_for_all(queue)
            self.dramatiq.stop(worker)  # by then its agent has told why they failed
            return ids
        later = 3_600_000 if state is JobState.SCHEDULED else None
        return self.dramatiq.put_noted(queue, count, "good", later)

    @contextmanager
    def running_jobs(self, queue: str, count: int) -> Iterator[Sequence[str]]:
        self.log.gate.unlink(missing_ok=True)
        worker = self.dramatiq.start_worker(queue, agent=True)
        ids = self.dramatiq.put_noted(queue, count, "long")
        wait_until(lambda: all(self.begun(id_) for id_ in ids), seconds=self.patience)
        yield ids
        self.log.gate.touch()
        wait_until(lambda: all(self.ended(id_) for id_ in ids), seconds=self.patience)
        self._end(worker, queue)

    def work_off(self, *queues: str) -> None:
        self._end(self.dramatiq.start_worker(*queues, agent=True), *queues)

    def _end(self, worker: str, *queues: str) -> None:
        self._wait_for_all(*queues)
        self.dramatiq.end(worker)

    def _wait_for_all(self, *queues: str) -> None:
        """Until every message of these queues has been acknowledged."""
        with redis.Redis(port=self.redis.port) as admin:
            keys = [f"dramatiq:{queue}.msgs" for queue in queues]
            wait_until(lambda: not admin.exists(*keys), seconds=self.patience)

    def begun(self, id_: str) -> int:
        return self.log.count("begun", id_)

    def ended(self, id_: str) -> int:
        return self.log.count("ended", id_)
