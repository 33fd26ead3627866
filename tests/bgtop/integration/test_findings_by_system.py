"""What the doctor finds at RQ, Huey and Dramatiq, on real brokers where it is really so."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from diagnosis import diagnose
from other_clock import shifted
from rq.registry import FinishedJobRegistry

from bgtop.contracts import Interest, Settings
from bgtop.model import Finding, Severity, WorkerState
from bgtop.registry import open_backend, plugin_for
from bgtop.state.tested import TESTED
from bgtop.testing import wait_until


@pytest.fixture
def rq(redis_server: Any, make_rq: Callable[..., Any]) -> Any:
    return make_rq(redis_server.url)


@contextmanager
def idle_and_stopped(url: str, pid: int) -> Iterator[None]:
    """A worker that has nothing to do, and is then stopped: its connections stay."""
    with closing(open_backend(plugin_for(url), url, Settings())) as backend:

        def is_idle() -> bool:
            workers = backend.poll(Interest()).workers
            return any(w.state is not WorkerState.UNKNOWN and w.running == 0 for w in workers)

        wait_until(is_idle, seconds=30, why="an idle worker is seen")
    os.killpg(pid, signal.SIGSTOP) if os.getpgid(pid) == pid else os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(pid, signal.SIGCONT) if os.getpgid(pid) == pid else os.kill(pid, signal.SIGCONT)


def test_rq_workers_that_hang_and_of_a_release_not_tested(
    rq: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgtop.state.findings.NOT_CONSUMED_AFTER", 0.5)
    monkeypatch.setitem(TESTED, "rq", ((0, 1), (0, 2)))
    rq.start_worker("w1", "mail")

    with idle_and_stopped(f"rq+{rq.url}", rq.pid("w1")):
        rq.put("mail", 2)  # the server hands one of them to the connection that waits
        found = diagnose(f"rq+{rq.url}", "not-consumed", "version-untested")

    assert found["not-consumed"].evidence.endswith("; idle: w1")
    assert (
        found["not-consumed"].mend == f"rq info --url {rq.url}; if it does not answer, restart it"
    )
    assert found["version-untested"].evidence == f"rq {rq.version}; tested are 0.1 to 0.2"


def test_a_dramatiq_worker_that_hangs(dramatiq: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgtop.state.findings.NOT_CONSUMED_AFTER", 0.5)
    name = dramatiq.start_worker("mail", agent=True)

    with idle_and_stopped(f"dramatiq+{dramatiq.url}", dramatiq.pid(name)):
        dramatiq.put("mail", count=20)  # a question that was under way takes a handful of them
        found = diagnose(f"dramatiq+{dramatiq.url}", "not-consumed")

    assert found["not-consumed"].subject == "mail"


def test_a_huey_consumer_that_hangs(
    redis_server: Any, make_huey: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgtop.state.findings.NOT_CONSUMED_AFTER", 0.5)
    huey = make_huey("RedisHuey", redis_server.url)
    consumer = huey.start_consumer("mail", agent=True)

    with idle_and_stopped(f"huey+{redis_server.url}", consumer.pid):
        huey.put("mail", 3)
        found = diagnose(f"huey+{redis_server.url}", "not-consumed")

    assert found["not-consumed"].subject == "mail"


def test_an_rq_worker_that_was_killed_is_silent(rq: Any) -> None:
    rq.start_worker("w1", "mail")
    wait_until(lambda: rq.redis.hget("rq:worker:w1", "state") == b"idle", seconds=20)
    rq.kill("w1")

    found = diagnose(f"rq+{rq.url}", "worker-silent")["worker-silent"]

    assert (found.subject, found.mend) == ("w1", "look at the log of w1, and start it again")


def test_two_rq_workers_of_one_name(rq: Any, make_rq: Callable[..., Any]) -> None:
    """RQ refuses a second one in the same database only."""
    other = make_rq(f"{rq.url.rpartition('/')[0]}/1")
    for cluster in (rq, other):
        cluster.start_worker("w1", "mail")

    found = diagnose(f"rq+{rq.url}", "duplicate-worker")["duplicate-worker"]

    assert found.subject == "w1"
    assert found.evidence.startswith("2 connections listen to the commands for this name")


def test_rq_jobs_that_nobody_schedules(rq: Any) -> None:
    rq.put_later("mail; rm", datetime.now(timezone.utc) - timedelta(seconds=200))

    found = diagnose(f"rq+{rq.url}", "scheduler-missing")["scheduler-missing"]

    assert (found.severity, found.subject) == (Severity.ERROR, "mail; rm")
    assert found.evidence.startswith("a job has been due for 20")
    assert found.mend == f"rq worker 'mail; rm' --with-scheduler --url {rq.url}"


def test_rq_jobs_that_are_not_due_or_have_a_scheduler_are_no_finding(rq: Any) -> None:
    late = datetime.now(timezone.utc) - timedelta(seconds=200)
    rq.put_later("later", datetime.now(timezone.utc) + timedelta(seconds=200))
    rq.put_later("mail", late)
    # What a worker with a scheduler holds.
    rq.redis.set("rq:scheduler-lock:mail", "w1")

    assert "scheduler-missing" not in diagnose(
        f"rq+{rq.url}", "no-consumer", act=lambda: rq.put("x")
    )


def test_jobs_of_rq_scheduler_that_nobody_schedules(rq: Any) -> None:
    pytest.importorskip("rq_scheduler", reason="pip install rq-scheduler")
    rq.repeat("mail", -200)

    found = diagnose(f"rq+{rq.url}", "scheduler-missing")["scheduler-missing"]

    assert (found.subject, found.mend) == ("rq-scheduler", f"rqscheduler --url {rq.url}")


def test_rq_results_that_are_kept_for_ever(rq: Any) -> None:
    jobs = rq.put("mail", 22, result_ttl=-1)
    # One run for all: what a worker does with a job that ended.
    registry = FinishedJobRegistry("mail", connection=rq.redis)
    for job in jobs:
        registry.add(job, -1)

    found = diagnose(f"rq+{rq.url}", "results-kept")["results-kept"]

    assert (found.subject, found.evidence) == ("mail", "22 of 22 finished jobs have no expiry")


def test_huey_results_that_nobody_fetches(redis_server: Any, make_huey: Callable[..., Any]) -> None:
    huey = make_huey("RedisHuey", redis_server.url)
    huey.put("mail")
    for number in range(1_000):
        huey.app("mail").storage.put_data(f"id-{number}", b"result", is_result=True)

    found = diagnose(f"huey+{redis_server.url}", "results-kept", "no-consumer")

    assert found["results-kept"].evidence == "1000 results nobody has fetched have no expiry"
    assert found["no-consumer"].mend == "huey_consumer APP.huey"


def drift_of(found: Finding, offset: int) -> str:
    """Whose clock is said to be off; it has to be by so much, but for what a look takes."""
    seconds, side = re.fullmatch(
        r"its clock is about (\d+) s (ahead of|behind) the one here", found.evidence
    ).groups()  # type: ignore[union-attr]
    assert side == ("ahead of" if offset > 0 else "behind")
    assert abs(offset) - 5 <= int(seconds) <= abs(offset) + 1
    return found.subject


@pytest.mark.parametrize("offset", [100, -100])
def test_an_rq_worker_with_another_clock(offset: int, rq: Any, tmp_path: Path) -> None:
    """It says something whenever it takes a job."""
    rq.start_worker("w1", "mail", **shifted(tmp_path, offset))

    found = diagnose(f"rq+{rq.url}", "clock-drift", act=lambda: rq.put("mail"))

    assert drift_of(found["clock-drift"], offset) == "w1"


@pytest.mark.parametrize("offset", [100, -100])
def test_a_dramatiq_worker_with_another_clock(offset: int, dramatiq: Any, tmp_path: Path) -> None:
    name = dramatiq.start_worker("mail", **shifted(tmp_path, offset))

    found = diagnose(f"dramatiq+{dramatiq.url}", "clock-drift")

    assert drift_of(found["clock-drift"], offset) == name


@pytest.mark.parametrize("offset", [100, -100])
def test_a_huey_consumer_with_another_clock(
    offset: int, redis_server: Any, make_huey: Callable[..., Any], tmp_path: Path
) -> None:
    """By the word of the agent; without it a consumer tells nobody the time."""
    huey = make_huey("RedisHuey", redis_server.url)
    huey.start_consumer("mail", agent=True, **shifted(tmp_path, offset))

    found = diagnose(f"huey+{redis_server.url}", "clock-drift")["clock-drift"]

    assert drift_of(found, offset)
    assert found.mend.endswith(": chronyc makestep")


def test_dramatiq_workers_that_hoard(dramatiq: Any, tmp_path: Path) -> None:
    """What is delayed lies apart from it, and is no reason to say nothing."""
    dramatiq.put("mail", 4, delay=3_600_000)
    dramatiq.start_worker("mail", agent=True, threads=4)
    url = f"dramatiq+{dramatiq.url}"
    dramatiq.put("mail", 8, actor="wait", args=(str(tmp_path / "go"),))
    with closing(open_backend(plugin_for(url), url, Settings())) as backend:

        def are_fetched() -> bool:
            [queue] = backend.poll(Interest()).queues
            return (queue.depth, queue.unacked) == (0, 8)

        wait_until(are_fetched, seconds=30, why="the worker holds them all")
    idle = dramatiq.start_worker("mail", agent=True)

    found = diagnose(url, "prefetch-hoarding")["prefetch-hoarding"]

    (tmp_path / "go").touch()
    assert found.evidence == f"4 fetched and not running, 1 idle workers, e.g. {idle}"


def test_dramatiq_messages_that_are_fetched_and_not_acknowledged(dramatiq: Any) -> None:
    dramatiq.start_worker("mail", agent=True, threads=20)
    url, gate = f"dramatiq+{dramatiq.url}", dramatiq.folder / "go"

    def more() -> None:
        dramatiq.put("mail", 4, actor="wait", args=(str(gate),))

    found = diagnose(url, "unacked-grows", act=more)["unacked-grows"]

    gate.touch()
    assert found.subject == "mail"


def test_a_dramatiq_queue_without_worker(dramatiq: Any) -> None:
    dramatiq.put("mail", 2)

    found = diagnose(f"dramatiq+{dramatiq.url}", "no-consumer")["no-consumer"]

    assert (found.subject, found.mend) == ("mail", "dramatiq APP -Q mail")
