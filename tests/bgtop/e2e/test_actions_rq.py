"""The commands that change something, on RQ with real workers: from the shell to the effect."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rq(redis_server: Any, make_rq: Callable[..., Any]) -> Any:
    return make_rq(redis_server.url)


def test_from_failure_to_another_run(call: Call, rq: Any) -> None:
    """The address names no system: the one that has the job is found."""
    first, second = (job.id for job in rq.put("mail", 2, task="fail"))
    rq.work_off("mail")

    def failed() -> set[str]:
        done = call("tasks", rq.url, "--state", "failed", "--format", "json")
        return {job["id"] for job in json.loads(done.stdout)["tasks"]}

    assert failed() == {first, second}
    done = call("retry", first, rq.url, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert failed() == {second}
    assert rq.redis.lrange("rq:queue:mail", 0, -1) == [first.encode()]

    rq.work_off("mail")
    assert failed() == {first, second}
    done = call("requeue", "--failed", rq.url, "--queue", "mail", "--yes")
    assert done.stdout.startswith("requeued 2 jobs: failed jobs of queue mail")
    assert rq.redis.llen("rq:queue:mail") == 2

    done = call("purge", "mail", rq.url, "--yes")
    assert done.stdout.startswith("purged 2 jobs: queue mail")
    assert rq.redis.llen("rq:queue:mail") == 0


def test_a_waiting_job_is_cancelled_and_deleted(call: Call, rq: Any) -> None:
    cancelled, deleted = (job.id for job in rq.put("mail", 2))

    done = call("cancel", cancelled, rq.url, "--yes"), call("delete", deleted, rq.url, "--yes")

    assert [made.returncode for made in done] == [0, 0]
    assert rq.redis.llen("rq:queue:mail") == 0
    assert not rq.redis.exists(f"rq:job:{deleted}")
    assert call("task", deleted, rq.url).returncode == 1
