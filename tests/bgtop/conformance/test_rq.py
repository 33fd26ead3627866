"""The RQ backend against a real Redis, filled and worked off by real RQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from redis_source import RedisSource, bad_urls
from run_log import RunLog

from bgtop.actions import JOB_VERBS, Verb
from bgtop.backends.rq import plugin
from bgtop.backends.rq.redis_store import CAPABILITIES
from bgtop.model import JobState
from bgtop.testing import PARENTS, ActionSuite, JobSuite, wait_until


class TestRqOnRedis(RedisSource, JobSuite, ActionSuite):
    plugin = plugin
    system = "rq"
    capabilities = CAPABILITIES
    verbs = (JOB_VERBS - {Verb.PAUSE, Verb.RESUME}) | {
        *(Verb.SUSPEND, Verb.WAKE, Verb.SHUTDOWN, Verb.RESTART)
    }
    job_states = frozenset(JobState) - {JobState.DEAD}
    bad_urls = bad_urls("rq")

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_rq: Callable) -> None:
        self.rq = make_rq(self.redis.url)
        self.log = RunLog(Path(str(self.rq.folder)))

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.rq.put(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        name = self.rq.start_worker("w1", *queues)
        yield name
        self.rq.stop(name)

    def complete_one(self, queue: str) -> None:
        self.rq.put(queue, 1)
        self.rq.work_off(queue)

    # Single jobs

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        if state is JobState.SCHEDULED:
            when = datetime.now(timezone.utc) + timedelta(hours=1)
            return list(self.rq.put_later(queue, when, count))
        after = self.rq.put_noted(PARENTS, 1, "good")[0] if state is JobState.DEFERRED else None
        kind = "bad" if state is JobState.FAILED else "good"
        ids = list(self.rq.put_noted(queue, count, kind, after))
        if state is JobState.CANCELLED:
            for id_ in ids:
                self.rq.cancel(id_)
        if state in {JobState.SUCCEEDED, JobState.FAILED}:
            self.rq.work_off(queue)
        return ids

    @contextmanager
    def running_jobs(self, queue: str, count: int) -> Iterator[Sequence[str]]:
        self.log.gate.unlink(missing_ok=True)
        workers = [self.rq.start_worker(f"{queue}-{n}", queue) for n in range(count)]
        ids = list(self.rq.put_noted(queue, count, "long"))
        wait_until(lambda: all(self.begun(id_) for id_ in ids), seconds=self.patience)
        yield ids
        self.log.gate.touch()
        for worker in workers:
            self.rq.stop(worker)

    def work_off(self, *queues: str) -> None:
        self.rq.work_off(*queues)

    def begun(self, id_: str) -> int:
        return self.log.count("begun", id_)

    def ended(self, id_: str) -> int:
        return self.log.count("ended", id_)

    def declare_schedule(self) -> str:
        return str(self.rq.repeat("alpha", "*/5 * * * *"))
