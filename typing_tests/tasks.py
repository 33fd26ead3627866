"""What a type checker must know of tasks and handles; checked by mypy, never run."""

from __future__ import annotations

from datetime import datetime, timezone

from typing_extensions import assert_type

from bgworker import BgWorker, Handle, JobState, Retry, cron, every

bg = BgWorker("sqlite:///jobs.db")


@bg.task
def add(a: int, b: int = 2) -> int:
    return a + b


@bg.task(queue="mail", retry=Retry(max=3), timeout=30)
def greet(name: str) -> str:
    return f"Hello {name}"


@bg.task(schedule=cron("*/5 * * * *", tz="Europe/Rome", missed="skip"))
def sweep(limit: int = 100) -> int:
    return limit


bg.task(name="poll", schedule=every(seconds=30))(sweep.function)

assert_type(sweep.delay(limit=1), Handle[int])
assert_type(add(1), int)
job = add.delay(1, b=2)
assert_type(job, Handle[int])
assert_type(job.result(timeout=1.0), int)
assert_type(job.status, JobState)
assert_type(greet.options(countdown=1).delay("you").result(), str)
assert_type(add.map([(1, 2), (3, 4)]), list[Handle[int]])

later = greet.options(eta=datetime.now(timezone.utc), priority=1, queue="slow")
assert_type(later("you"), str)
assert_type(later.name, str)

add.delay("1")  # type: ignore[arg-type]  # a wrong argument is found where it is written
greet.delay()  # type: ignore[call-arg]  # and so is a missing one
