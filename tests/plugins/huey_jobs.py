"""Single tasks of Huey for the conformance tests, in whatever storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import pytest
from run_log import RunLog

from bgtop.actions import CancelJob, RetryJob, Verb
from bgtop.contracts import NoSuchTarget
from bgtop.model import JobState
from bgtop.testing import ActionSuite, JobSuite, wait_until
from bgtop.testing.job_hooks import look_at

if TYPE_CHECKING:
    from huey_cluster import HueyCluster

    from bgtop.contracts import Backend


class HueyJobs(JobSuite, ActionSuite):
    """Tasks that note their runs, in ``huey``, which the test sets."""

    huey: HueyCluster
    with_agent: ClassVar[bool] = True
    verbs = frozenset({Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.PURGE})
    job_states = frozenset({JobState.WAITING, JobState.SCHEDULED, JobState.CANCELLED})

    # Huey cannot do that.
    test_a_running_job_is_stopped_if_asked_for = None

    def test_what_was_cancelled_runs_after_all(self, operator: Backend) -> None:
        """The mark is taken away; a second time there is none."""
        ids = self.jobs_in(JobState.WAITING, "alpha", 2)
        for id_ in ids:
            operator.perform(CancelJob(id=id_))
        assert operator.perform(RetryJob(id=ids[0])).changed == 1
        found = [look_at(operator, id_) for id_ in ids]
        assert [job and job.state for job in found] == [JobState.WAITING, JobState.CANCELLED]
        with pytest.raises(NoSuchTarget, match="is not revoked"):
            operator.perform(RetryJob(id=ids[0]))
        self.work_off("alpha")

        assert [self.begun(id_) for id_ in ids] == [1, 0]

    @property
    def log(self) -> RunLog:
        return RunLog(self.huey.folder)

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        if state is JobState.SCHEDULED:
            return self.huey.put_later(queue, count)
        ids = self.huey.put_noted(queue, count, "good")
        if state is JobState.CANCELLED:
            for id_ in ids:
                self.huey.app(queue).revoke_by_id(id_, revoke_once=True)
        return ids

    @contextmanager
    def running_jobs(self, queue: str, count: int) -> Iterator[Sequence[str]]:
        self.log.gate.unlink(missing_ok=True)
        ids = self.huey.put_noted(queue, count, "long")
        consumer = self.huey.start_consumer(queue, "-w", str(count), agent=self.with_agent)
        wait_until(lambda: all(self.begun(id_) for id_ in ids), seconds=self.patience)
        yield ids
        self.log.gate.touch()
        self.huey.stop(consumer)

    def work_off(self, *queues: str) -> None:
        for queue in queues:
            # An empty queue does not show that the consumer has looked at it.
            (extra,) = self.huey.put_noted(queue, 1, "good")
            app = self.huey.app(queue)
            consumer = self.huey.start_consumer(queue)
            wait_until(
                lambda app=app, extra=extra: (
                    not app.storage.queue_size() and self.ended(extra) == 1
                ),
                seconds=self.patience,
            )
            self.huey.stop(consumer)

    def begun(self, id_: str) -> int:
        return self.log.count("begun", id_)

    def ended(self, id_: str) -> int:
        return self.log.count("ended", id_)
