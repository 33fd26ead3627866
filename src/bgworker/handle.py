"""Handles on enqueued jobs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

from bgworker.codec import load_error
from bgworker.errors import JobFailed, UnknownJob
from bgworker.model import Answer, JobId, Progress
from bgworker.states import JobState
from bgworker.values import dataclass

if TYPE_CHECKING:
    from bgworker.contracts import Dispatcher

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Handle(Generic[R]):
    """An enqueued job: its id, and the way to its state and result."""

    id: JobId
    _dispatcher: Dispatcher

    @property
    def status(self) -> JobState:
        """Where the job is now; raises :class:`bgworker.errors.UnknownJob`."""
        return self._dispatcher.fetch(self.id).state

    @property
    def progress(self) -> Progress | None:
        """What the task said last with :func:`bgworker.progress`; ``None`` if nothing.

        Raises :class:`bgworker.errors.UnknownJob`.
        """
        return self._dispatcher.fetch(self.id).progress

    def cancel(self) -> bool:
        """Whether the job is cancelled now or, if it runs, will be as soon as it is stopped.

        ``False`` if it had ended already; nothing changed then.

        Raises:
            UnknownJob: no such job is stored any more.
        """
        (answer,) = self._dispatcher.cancel([self.id], f"by process {os.getpid()}, job.cancel()")
        return _is_done(answer)

    def retry(self) -> bool:
        """Whether the job is queued once more: it had ended badly, or waited for a later time.

        ``False`` if it is waiting or running already, has succeeded, or may not come back: beside
        another job with its unique key, or before a job it comes after. Nothing changed then.

        Raises:
            UnknownJob: no such job is stored any more.
        """
        (answer,) = self._dispatcher.retry([self.id])
        return _is_done(answer)

    def result(self, timeout: float | None = None) -> R:
        """What the task returned, as JSON has it; waits until the job has ended.

        Raises:
            TimeoutError: it has not ended within ``timeout`` seconds.
            JobFailed: it ended as failed, dead or cancelled.
            UnknownJob: no such job is stored any more.
        """
        if timeout is not None and timeout != timeout:  # noqa: PLR0124 - NaN, which never passes
            raise ValueError(f"timeout={timeout!r} is no number of seconds")
        record = self._dispatcher.wait(self.id, timeout)
        if record.state is not JobState.SUCCEEDED:
            raise JobFailed(record.state.value, *load_error(record.error))
        import json

        found: R = json.loads(record.result or "null")
        return found


def _is_done(answer: Answer) -> bool:
    if answer.was is None:
        raise UnknownJob(f"no job {answer.id!r} is stored")
    return answer.done
