"""What happens to a job that did not succeed: one pure decision."""

from __future__ import annotations

import os
import signal
from enum import Enum
from typing import Any

from bgworker.model import (
    CRASH_BUDGET,
    Claim,
    Dead,
    Ending,
    Failed,
    Millis,
    Retry,
    Retrying,
    TaskPolicy,
)
from bgworker.schedule import schedule_from_json, schedule_to_json


class Mishap(str, Enum):
    """How a run ended when it did not return a value."""

    RAISED = "raised"
    """An exception that ``retry.on`` names."""
    REFUSED = "refused"
    """An exception that ``retry.on`` does not name."""
    TIMED_OUT = "timed_out"
    """The hard timeout passed; we killed it."""
    CRASHED = "crashed"
    """Its process died by itself: a signal, ``os._exit``, the kernel's memory killer."""


def verdict(
    mishap: Mishap, policy: TaskPolicy, claim: Claim, error: str, *, now: Millis, chance: float
) -> Ending:
    """What becomes of ``claim``: the only place where failed, dead and retrying are decided.

    ``failed`` means not worth a retry; ``dead`` that retries or the crash budget are used up.
    Crashes have a budget of their own and never use up retries.
    """
    retry = policy.retry
    if mishap is Mishap.CRASHED:
        crashes = claim.crashes + 1
        if crashes >= CRASH_BUDGET:
            return Dead(error, crashed=True)
        return Retrying(error, now + round(retry.wait(crashes, chance) * 1000), crashed=True)
    worth_it = mishap is Mishap.RAISED or (mishap is Mishap.TIMED_OUT and policy.retries_timeout)
    if not worth_it or retry.max == 0:
        return Failed(error)
    if claim.retries >= retry.max:
        return Dead(error)
    return Retrying(error, now + round(retry.wait(claim.retries + 1, chance) * 1000))


def crash_words(status: int) -> tuple[str, str | None]:
    """What a wait status (as from ``os.waitpid``) says, and the signal's name if it was one."""
    if not os.WIFSIGNALED(status):
        return f"the process exited with status {os.WEXITSTATUS(status)}", None
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"the process was killed by {name}", name


def policy_to_json(policy: TaskPolicy) -> dict[str, Any]:
    """The policy without its types, for the way from the zygote to the supervisor."""
    retry = policy.retry
    return {
        "name": policy.name,
        "queue": policy.queue,
        "priority": policy.priority,
        "timeout": policy.timeout,
        "hard_timeout": policy.hard_timeout,
        "retries_timeout": policy.retries_timeout,
        "rate_limit": policy.rate_limit,
        "concurrency": policy.concurrency,
        "schedule": schedule_to_json(policy.schedule),
        "on_success": policy.on_success,
        "on_failure": policy.on_failure,
        "retry": {
            "max": retry.max,
            "delay": retry.delay,
            "backoff": retry.backoff,
            "max_delay": retry.max_delay,
            "jitter": retry.jitter,
        },
    }


def policy_from_json(found: dict[str, Any]) -> TaskPolicy:
    """The inverse of :func:`policy_to_json`; ``retry.on`` is the default and never asked."""
    schedule = schedule_from_json(found["schedule"])
    return TaskPolicy(**{**found, "retry": Retry(**found["retry"]), "schedule": schedule})
