"""The arq backend against a real Redis, filled and worked off by real arq."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import redis
from redis_source import PASSWORD, RedisSource, bad_urls
from run_log import RunLog

from bgtop.actions import Verb
from bgtop.backends.arq import plugin
from bgtop.backends.arq.redis_broker import CAPABILITIES
from bgtop.model import JobState
from bgtop.testing import ActionSuite, JobSuite, wait_until


def due(admin: redis.Redis, queue: str) -> int:
    """How many jobs of this queue run, or could."""
    return int(admin.zcount(queue, "-inf", time.time() * 1000))


class TestArqOnRedis(RedisSource, JobSuite, ActionSuite):
    verbs = frozenset({Verb.CANCEL, Verb.DELETE, Verb.PURGE})
    job_states = frozenset({JobState.WAITING, JobState.SCHEDULED})
    patience = 30.0

    # arq does not say which worker runs what, nor since when.
    test_running_jobs_are_shown_with_their_worker = None

    plugin = plugin
    system = "arq"
    capabilities = CAPABILITIES
    bad_urls = (*bad_urls("arq"), f"arq+redis://:{PASSWORD}@h/0?queue=")

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_arq: Callable) -> None:
        self.arq = make_arq(self.redis.url)

    @property
    def log(self) -> RunLog:
        return RunLog(self.arq.folder)

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        later = {"_defer_by": 3600} if state is JobState.SCHEDULED else {}
        return self.arq.put_noted(queue, count, "good", **later)

    @contextmanager
    def running_jobs(self, queue: str, count: int) -> Iterator[Sequence[str]]:
        self.log.gate.unlink(missing_ok=True)
        ids = self.arq.put_noted(queue, count, "long")
        self.arq.start_worker(queue, allow_abort_jobs=True)
        wait_until(lambda: all(self.begun(id_) for id_ in ids), seconds=self.patience)
        yield ids
        self.log.gate.touch()
        with redis.Redis(port=self.redis.port) as admin:
            wait_until(lambda: not admin.zcard(queue), seconds=self.patience)
        self.arq.stop(queue)

    def work_off(self, *queues: str) -> None:
        for queue in queues:
            self.arq.start_worker(queue)
            with redis.Redis(port=self.redis.port) as admin:
                wait_until(lambda queue=queue: not due(admin, queue), seconds=self.patience)
            self.arq.stop(queue)

    def begun(self, id_: str) -> int:
        return self.log.count("begun", id_)

    def ended(self, id_: str) -> int:
        return self.log.count("ended", id_)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.arq.put(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        (queue,) = queues
        self.arq.start_worker(queue)
        yield f"{queue} (last report)"
        self.arq.stop(queue)
