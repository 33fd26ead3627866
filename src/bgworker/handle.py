"""Handles on enqueued jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from bgworker.codec import load_error
from bgworker.errors import JobFailed
from bgworker.model import JobId, JobState, Progress

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

    def result(self, timeout: float | None = None) -> R:
        """What the task returned, as JSON has it; waits until the job has ended.

        Raises:
            TimeoutError: it has not ended within ``timeout`` seconds.
            JobFailed: it ended as failed, dead or cancelled.
            UnknownJob: no such job is stored any more.
        """
        record = self._dispatcher.wait(self.id, timeout)
        if record.state is not JobState.SUCCEEDED:
            raise JobFailed(record.state.value, *load_error(record.error))
        import json

        found: R = json.loads(record.result or "null")
        return found
