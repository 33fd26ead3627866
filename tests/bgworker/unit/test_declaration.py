"""What may not be said of a task or a job, and how it is refused: at once, in words."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from bgworker import BgWorker, DuplicateTask, Task, chain


@pytest.fixture
def bg(tmp_path: Path) -> Iterator[BgWorker]:
    found = BgWorker(f"sqlite:///{tmp_path}/jobs.db")
    yield found
    found.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue": ""}, "queue=''"),
        ({"priority": 1.5}, "priority=1.5"),
        ({"priority": True}, "priority=True"),
        ({"priority": 2**40}, "priority=1099511627776"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": math.nan}, "timeout=nan"),
        ({"timeout": math.inf}, "timeout=inf"),
        ({"timeout": 1e12}, "timeout=1000000000000"),
        ({"hard_timeout": 0}, "hard_timeout=0"),
        ({"hard_timeout": math.nan}, "hard_timeout=nan"),
        ({"timeout": 5, "hard_timeout": 5}, "hard_timeout=5"),
        ({"timeout": 5, "hard_timeout": math.nan}, "hard_timeout=nan"),
        ({"name": ""}, "name=''"),
        ({"name": "\ud800"}, "name="),
        ({"queue": "\udc80"}, "queue="),
        ({"name": 5}, "name=5"),
        ({"timeout": "5"}, "timeout='5'"),
        ({"timeout": 5, "hard_timeout": "9"}, "hard_timeout='9'"),
        ({"rate_limit": 5}, "5 is no rate"),
        ({"retry": 3}, "retry=3"),
        ({"on_success": 5}, "on_success=5"),
        ({"on_failure": "tell"}, "on_failure='tell'"),
    ],
)
def test_options_that_make_no_sense_are_refused_where_they_are_written(
    bg: BgWorker, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        bg.task(**options)(lambda: None)
    assert not bg.tasks


def test_two_functions_may_not_share_a_name(bg: BgWorker) -> None:
    @bg.task(name="same")
    def first() -> int:
        return 1

    with pytest.raises(
        DuplicateTask, match=r"'same'.*test_declaration\.py:\d+ and .*test_declaration\.py:\d+"
    ):

        @bg.task(name="same")
        def second() -> int:
            return 2

    assert bg.tasks["same"] is first


def test_a_module_may_be_imported_twice(bg: BgWorker) -> None:
    """As ``jobs`` by the worker and as ``package.jobs`` by the application, or reloaded."""

    def declare() -> Task[[], int]:
        @bg.task(name="once")
        def once() -> int:
            return 1

        return once

    declare()
    again = declare()
    assert bg.tasks["once"] is again


def bare(function: Callable[[], int]) -> Callable[[], int]:
    def wrapper() -> int:
        return function()

    return wrapper


def wrapping(function: Callable[[], int]) -> Callable[[], int]:
    @functools.wraps(function)
    def wrapper() -> int:
        return function()

    return wrapper


@pytest.mark.parametrize("decorate", [bare, lambda function: wrapping(bare(function))])
def test_what_one_decorator_makes_is_told_apart(
    bg: BgWorker, decorate: Callable[[Callable[[], int]], Callable[[], int]]
) -> None:
    """It has one name and was written in one place."""
    first = bg.task(decorate(lambda: 1))
    with pytest.raises(DuplicateTask, match=r"bare.*:\d+ around .*:\d+ and .*:\d+ around .*:\d+"):
        bg.task(decorate(lambda: 2))

    assert first() == bg.tasks[first.name]() == 1


@pytest.mark.parametrize("what", ["send", None, 5])
def test_only_functions_are_tasks(bg: BgWorker, what: Any) -> None:
    with pytest.raises(TypeError, match=f"{what!r} is no function"):
        bg.task(name="n")(what)
    with pytest.raises(ValueError, match="give it one with name="):
        bg.task(functools.partial(len, "ab"))
    assert not bg.tasks


def test_an_argument_may_have_any_name(bg: BgWorker) -> None:
    task = bg.task(name="t")(lambda **given: sorted(given))
    with bg.eager():
        handles = [
            task.delay(self=1, args=2),
            chain(task.s(self=1)).delay(),
            chain(task.si(self=1)).delay(),
        ]
        assert [handle.result() for handle in handles] == [["args", "self"], ["self"], ["self"]]
    assert task(self=1) == ["self"]


@pytest.mark.parametrize("after", ["1", 1, None, [0], [1], [None]])
def test_what_is_no_job_is_nothing_to_come_after(bg: BgWorker, after: Any) -> None:
    task = bg.task(name="t")(lambda: None)
    task.delay()
    with pytest.raises(TypeError, match=r"list of jobs|is no job"):
        task.options(after=after)
    with pytest.raises(TypeError, match="list of jobs"):
        task.options(after=bg.job("1"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="1 is no job"):
        bg.job(1)  # type: ignore[arg-type]


def test_no_job_is_due_after_the_last_day_of_the_calendar(bg: BgWorker) -> None:
    """Whoever shows the date could not."""
    last = datetime.max.replace(tzinfo=timezone.utc)
    job = bg.task(name="t")(lambda: None).options(eta=last).delay()

    run_at = bg.dispatcher.fetch(job.id).run_at or 0
    assert datetime.fromtimestamp(run_at / 1000, timezone.utc).year == 9999


def test_waiting_until_no_time_at_all_is_refused(bg: BgWorker) -> None:
    job = bg.task(name="t")(lambda: None).delay()
    with pytest.raises(ValueError, match="timeout=nan"):
        job.result(math.nan)
