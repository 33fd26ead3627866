"""Chains, groups and jobs after others, with real workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bgworker import JobFailed, JobState, UnknownJob, chain, group
from bgworker.app import BgWorker

StartWorker = Callable[..., Any]


def test_a_chain_hands_results_on(standing: StartWorker, jobs: Any) -> None:
    standing()
    flow = chain(jobs.add.s(1, 2), jobs.add.s(10), jobs.later.s()).delay()

    assert flow.result(10) == 14
    assert flow.statuses == (JobState.SUCCEEDED,) * 3


def test_a_group_calls_back_with_all_results(worker: StartWorker, jobs: Any) -> None:
    worker()
    worker()
    flow = group(*(jobs.add.s(n, n) for n in range(50))).then(jobs.echo.s()).delay()

    assert flow.result(15) == [2 * n for n in range(50)]
    assert len(flow.jobs) == 51


def test_chains_and_groups_nest(standing: StartWorker, jobs: Any) -> None:
    standing()
    fan = group(chain(jobs.add.s(1), jobs.add.s(100)), jobs.add.s(2))
    flow = chain(jobs.add.s(0, 5), fan, jobs.echo.s()).delay()

    assert flow.result(10) == [106, 7]


def test_a_group_at_the_end_gives_a_list(standing: StartWorker, jobs: Any) -> None:
    standing()

    fan = group(jobs.add.s(1), jobs.echo.si("own"))
    assert chain(jobs.add.s(1, 1), fan).delay().result(10) == [3, "own"]
    assert group(jobs.add.s(1, 1)).delay().result(10) == [2]
    assert group(jobs.add.s(n, n) for n in range(3)).delay().result(10) == [0, 2, 4]
    assert chain([jobs.add.s(1, 1), jobs.add.s(5)]).delay().result(10) == 7
    assert chain(group(), jobs.echo.s()).delay().result(10) == []


def test_a_failure_cancels_what_would_have_come_after(standing: StartWorker, jobs: Any) -> None:
    standing()
    parts = jobs.add.s(1, 2), jobs.picky.si("ValueError"), jobs.echo.s(), jobs.echo.s()
    flow = chain(*parts).delay()
    with pytest.raises(JobFailed, match="ParentFailed"):
        flow.result(10)

    assert flow.statuses[:2] == (JobState.SUCCEEDED, JobState.FAILED)
    assert flow.statuses[2:] == (JobState.CANCELLED,) * 2


def test_a_job_after_others(worker: StartWorker, jobs: Any) -> None:
    first, second = jobs.add.delay(1, 1), jobs.add.delay(2, 2)
    after = jobs.echo.options(after=[first, second.id]).delay("done")
    assert after.status is JobState.BLOCKED
    worker()

    assert after.result(10) == "done"
    assert jobs.echo.options(after=[first]).delay("late").result(10) == "late"


def test_what_cannot_be_a_flow_is_refused(jobs: Any) -> None:
    with pytest.raises(TypeError, match=r"chain\(\) takes task\.s"):
        chain(jobs.add)
    with pytest.raises(TypeError, match=r"chains and groups, not int$"):
        group([jobs.add.s(1, 1), 7])
    with pytest.raises(ValueError, match="needs at least one task"):
        group().delay()
    with pytest.raises(TypeError, match="must be JSON"):
        chain(jobs.add.s(1, 2), jobs.echo.s(object())).delay()
    with pytest.raises(UnknownJob, match="77"):
        jobs.echo.options(after=["77"]).delay()
    with pytest.raises(TypeError, match="must be a list"):
        jobs.echo.options(after="77")
    with pytest.raises(ValueError, match="first jobs only"):
        chain(jobs.add.s(1, 2), jobs.echo.options(after=["1"]).s()).delay()


def test_a_flow_belongs_to_one_app(jobs: Any) -> None:
    other = BgWorker("memory://")

    @other.task
    def elsewhere() -> None: ...

    with pytest.raises(ValueError, match="belong to one app"):
        chain(jobs.add.s(1, 2), elsewhere.s()).delay()
    other.close()
