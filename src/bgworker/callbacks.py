"""What runs after a job has ended: callbacks, as jobs of their own.

A callback is stored in the transaction that records the ending. So there is exactly one for each
ending, no crash loses it, it also follows an ending no task code could tell of (a crash, a hard
timeout, a dead worker), and nothing it does can change what is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from bgworker.errors import JobFailed
from bgworker.model import Claim, Dead, Ending, Failed, JobId, JobSpec, Succeeded, TaskPolicy
from bgworker.values import dataclass


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job; ``attempt`` counts from 1."""

    id: JobId
    task: str
    attempt: int


def follow_up(policy: TaskPolicy, claim: Claim, ending: Ending) -> JobSpec | None:
    """The callback that an ending asks for, as the job to store with it."""
    if isinstance(ending, Succeeded):
        return _job(policy.on_success, claim, ending.result) if policy.on_success else None
    if policy.on_failure and isinstance(ending, Failed | Dead):
        return after_failure(policy.on_failure, claim, ending)
    return None


def after_failure(on_failure: str, claim: Claim, ending: Failed | Dead) -> JobSpec:
    """The job that tells the callback named ``on_failure`` of a final failure."""
    state = "dead" if isinstance(ending, Dead) else "failed"
    return _job(on_failure, claim, f'"{state}",{ending.error}')


def for_success(callback: Callable[[JobRun, object], object]) -> Callable[..., object]:
    """The task behind ``on_success``: it calls ``callback(job, result)``."""

    def on_success(job: str, task: str, attempt: int, result: object) -> object:
        return callback(JobRun(JobId(job), task, attempt), result)

    return on_success


def for_failure(callback: Callable[[JobRun, JobFailed], object]) -> Callable[..., object]:
    """The task behind ``on_failure``: it calls ``callback(job, error)``."""

    def on_failure(job: str, task: str, attempt: int, state: str, error: dict[str, str]) -> object:
        failed = JobFailed(state, error["type"], error["message"], error["traceback"])
        return callback(JobRun(JobId(job), task, attempt), failed)

    return on_failure


def _job(callback: str, claim: Claim, told: str) -> JobSpec:
    """``told`` is JSON text already: what is as long as a result is not parsed to be copied."""
    head = f'"{claim.id}",{json.dumps(claim.task)},{claim.attempts}'
    return JobSpec(
        task=callback,
        args=f"[[{head},{told}],{{}}]",
        queue=claim.queue,
        priority=claim.priority,
    )
