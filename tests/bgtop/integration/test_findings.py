"""Each finding of the doctor, on a real broker where it is really so."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from diagnosis import diagnose
from other_clock import shifted

from bgtop.backends.redis_link import pack
from bgtop.contracts import Interest, Settings
from bgtop.model import Severity
from bgtop.registry import open_backend, plugin_for
from bgtop.state.tested import TESTED
from bgtop.testing import wait_until
from bgworker import BgWorker
from bgworker.engines import open_engine


@pytest.fixture
def rq(redis_server: Any, make_rq: Callable[..., Any]) -> Any:
    return make_rq(redis_server.url)


def test_a_queue_without_consumer(rq: Any) -> None:
    rq.put("mail; rm", 2)

    found = diagnose(f"rq+{rq.url}", "no-consumer")["no-consumer"]

    assert (found.severity, found.subject) == (Severity.ERROR, "mail; rm")
    assert found.evidence == "2 waiting, 0 consumers"
    assert found.mend == f"rq worker 'mail; rm' --url {rq.url}"


def test_the_command_that_mends_calls_a_queue_as_its_application_does(
    celery: Any, make_celery: Callable[..., Any]
) -> None:
    """Where several share a database the prefix of each is shown, and no worker takes it for -Q."""
    celery.put("a")
    make_celery(celery.url, prefix="shop:").put("mail", 2)

    found = diagnose(f"celery+{celery.url}", "no-consumer")["no-consumer"]

    assert (found.subject, found.mend) == ("shop:mail", "celery -A APP worker -Q mail")


def test_ready_but_not_consumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker passes over the jobs of a task it does not know."""
    monkeypatch.setattr("bgtop.state.findings.NOT_CONSUMED_AFTER", 0.5)
    url = f"sqlite:///{tmp_path}/jobs.db"
    (tmp_path / "knows.py").write_text("from bgworker import BgWorker\nbg = BgWorker()\n")
    app = BgWorker(url)

    @app.task(name="unknown", queue="mail")
    def task() -> None: ...

    task.delay()
    app.close()
    worker = subprocess.Popen(
        [*(sys.executable, "-m", "bgworker.cli", "run"), *("--app", "knows", "--url", url)],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    try:
        found = diagnose(url, "not-consumed")["not-consumed"]
    finally:
        worker.terminate()
        worker.wait(20)

    assert found.subject == "mail"
    assert found.evidence.startswith("1 waiting, the oldest for ")
    assert found.mend.startswith(f"bgworker doctor --url {url}; ")


def test_a_killed_worker_is_silent(celery: Any) -> None:
    node = celery.start_worker("w1", "mail")
    wait_until(lambda: celery.app.control.ping(timeout=0.5), seconds=20)
    url = f"celery+{celery.url}"
    alive = [node]

    def kill_when_heard() -> None:
        while alive:
            celery.kill(alive.pop())

    found = diagnose(url, "worker-silent", act=kill_when_heard, dead_after="2")["worker-silent"]

    assert found.subject == node
    assert found.evidence.startswith("last heartbeat ")
    assert found.mend == f"look at the log of {node}, and start it again"


def test_a_worker_that_sends_no_heartbeat_is_silent(celery: Any) -> None:
    node = celery.start_worker("w1", "mail", options=("--without-heartbeat",))

    found = diagnose(f"celery+{celery.url}", "worker-silent")["worker-silent"]

    assert (found.subject, found.evidence) == (node, "no heartbeat was heard")
    assert found.mend.startswith(f"celery -A APP inspect ping -d {node}; ")


def test_events_that_are_off(celery: Any) -> None:
    celery.start_worker("w1", "mail")

    found = diagnose(f"celery+{celery.url}", "events-off", act=lambda: celery.put("mail", 3))[
        "events-off"
    ]

    assert found.subject == "w1@test"
    assert "celery -A APP control enable_events -d w1@test" in found.mend


def test_task_sent_events_that_are_off(celery: Any) -> None:
    celery.start_worker("w1", "mail", options=("-E",))

    found = diagnose(f"celery+{celery.url}", "task-sent-off", act=lambda: celery.put("mail", 3))

    assert "task_send_sent_event = True" in found["task-sent-off"].mend
    assert "events-off" not in found


def test_events_that_may_not_be_heard(celery: Any, admin: Any) -> None:
    celery.put("mail")
    admin.acl_setuser(
        "monitor", enabled=True, nopass=True, keys=["*"], commands=["+@all"], reset=True
    )
    place = celery.url.partition("://")[2]

    found = diagnose(f"celery+redis://monitor:x@{place}", "warning")["warning"]

    assert "does not let us listen to task events" in found.evidence
    assert found.mend == "ACL SETUSER … '&/0.celeryev/*'"


def test_two_workers_of_one_name(celery: Any, make_celery: Callable[..., Any]) -> None:
    other = make_celery(celery.url)
    pids = set()
    for cluster in (celery, other):
        cluster.start_worker("w1", "mail")
        pids.add(str(cluster.pid("w1@test")))

    found = diagnose(f"celery+{celery.url}", "duplicate-worker")["duplicate-worker"]

    assert found.subject == "w1@test"
    assert all(pid in found.evidence for pid in pids)


@pytest.mark.parametrize(("offset", "side"), [(100, "ahead"), (-100, "behind")])
def test_a_worker_with_another_clock(offset: int, side: str, celery: Any, tmp_path: Path) -> None:
    celery.start_worker("w1", "mail", **shifted(tmp_path, offset))

    found = diagnose(f"celery+{celery.url}", "clock-drift")["clock-drift"]

    assert found.subject == "w1@test"
    assert side in found.evidence


def test_a_heartbeat_that_comes_late_once_says_nothing_about_a_clock(redis_server: Any) -> None:
    """It may have been on its way for long; one whose heartbeats all seem late has another time."""
    url = f"celery+redis://127.0.0.1:{redis_server.port}/0"
    with (
        redis.Redis(port=redis_server.port) as admin,
        closing(open_backend(plugin_for(url), url, Settings())) as backend,
    ):
        late = iter([20.0])

        def drifting() -> list[str]:
            findings = backend.poll(Interest(checkup=True)).findings
            for name, behind in (("late@h", next(late, 0.0)), ("slow@h", 20.0)):
                admin.publish("/0.celeryev/worker.heartbeat", heartbeat(name, behind))
            return [one.subject for one in findings if one.code == "clock-drift"]

        assert wait_until(drifting, seconds=20, every=0.1) == ["slow@h"]
        assert drifting() == ["slow@h"]


def test_a_poll_that_takes_long_says_nothing_about_a_clock(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written while it waited for the server is not of the future."""
    monkeypatch.setattr("bgtop.backends.celery.checkup.DRIFT", 0.5)
    url, slow = f"celery+redis://127.0.0.1:{redis_server.port}/0", 1.0
    look = Interest(checkup=True)
    with (
        socket.create_connection(("127.0.0.1", redis_server.port)) as worker,
        closing(open_backend(plugin_for(url), url, Settings())) as backend,
        ThreadPoolExecutor(1) as thread,
    ):
        backend.poll(look)
        redis_server.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        polling = thread.submit(backend.poll, look)
        wait_until(lambda: time.monotonic() - began > slow, seconds=10)
        said = heartbeat("late@h", 0.0)
        worker.sendall(pack(("PUBLISH", "/0.celeryev/worker.heartbeat", said)).payload)
        redis_server.send_signal(signal.SIGCONT)
        assert worker.recv(10) == b":2\r\n", "it was heard"
        findings = [*polling.result().findings, *backend.poll(look).findings]

    assert [one.subject for one in findings if one.code == "clock-drift"] == []


def heartbeat(node: str, behind: float) -> str:
    """What a worker publishes, written so many seconds ago."""
    event = {"type": "worker-heartbeat", "hostname": node, "timestamp": time.time() - behind}
    body = b64encode(json.dumps(event).encode()).decode()
    sent = {"content-type": "application/json", "properties": {"body_encoding": "base64"}}
    return json.dumps({**sent, "body": body})


def test_messages_that_are_hoarded_and_grow(celery: Any) -> None:
    celery.start_worker("w1", "mail", options=("--prefetch-multiplier", "90"))
    url = f"celery+{celery.url}"

    grown = diagnose(url, "unacked-grows", act=lambda: celery.put("mail", 4, task="wait"))
    celery.start_worker("w2", "mail")
    found = diagnose(url, "prefetch-hoarding")["prefetch-hoarding"]

    assert grown["unacked-grows"].subject == "mail"
    assert "1 idle workers, e.g. w2@test" in found.evidence


def test_priorities_that_no_worker_reads(celery: Any, make_celery: Callable[..., Any]) -> None:
    fine = make_celery(celery.url, priority_steps=list(range(10)))
    celery.start_worker("w1", "mail")

    found = diagnose(
        f"celery+{celery.url}", "priority-unread", act=lambda: fine.put("mail", priority=5)
    )["priority-unread"]

    assert found.subject == "mail"
    assert found.evidence.startswith("priority 5;")


def test_a_visibility_timeout_that_is_too_short(celery: Any) -> None:
    celery.put("mail")

    with celery.holding("mail", 1):
        url = f"celery+{celery.url}?visibility_timeout=1"
        found = diagnose(url, "visibility-timeout")["visibility-timeout"]

    assert "it is delivered again, and its task may run twice" in found.evidence


def test_results_that_are_kept_for_ever(celery: Any) -> None:
    celery.app.conf.update(result_backend=celery.url, result_expires=None)
    celery.put("mail")
    for number in range(25):
        celery.app.backend.store_result(f"id-{number}", 1, "SUCCESS")

    found = diagnose(f"celery+{celery.url}", "results-kept")["results-kept"]

    assert found.evidence == "25 of 25 results looked at have no expiry"
    celery.app.conf.update(result_backend=None)


def test_a_release_that_was_not_tested(rq: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rq.put("mail")
    monkeypatch.setitem(TESTED, "redis", ((1, 0), (2, 8)))

    found = diagnose(f"rq+{rq.url}", "version-untested")["version-untested"]

    assert found.evidence.startswith("redis ")
    assert found.evidence.endswith("; tested are 1.0 to 2.8")


def test_a_queue_file_and_a_pause(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = BgWorker(url)

    @app.task(name="t", queue="mail")
    def task() -> None: ...

    task.delay()
    found = diagnose(url, "no-consumer", "queue-file")
    with closing(open_engine(url)) as engine:
        engine.pause("mail", paused=True)
    paused = diagnose(url, "paused")["paused"]
    app.close()

    assert found["no-consumer"].mend == f"bgworker run --app APP --queues mail --url {url}"
    assert paused.mend == f"bgtop resume mail {url}"


def test_sources_without_a_system_and_without_an_answer(redis_server: Any) -> None:
    assert diagnose(redis_server.url, "no-system")["no-system"].severity is Severity.INFO
    redis_server.stop()
    found = diagnose(redis_server.url, "source-down")["source-down"]

    assert (found.severity, "refused" in found.evidence) == (Severity.ERROR, True)
