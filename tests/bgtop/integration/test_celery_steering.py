"""What real Celery workers are told by bgtop has its effect, as seen at the workers themselves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from celery_desk import Desk, at_desk, lives
from redis_server import RedisServer

import bgtop
from bgtop.actions import Action
from bgtop.backends.celery import plugin
from bgtop.cli.main import main
from bgtop.contracts import BackendError, Interest, NoReply, NoSuchTarget, Refused, Settings
from bgtop.explorer import Explorer
from bgtop.model import JobState
from bgtop.registry import load_broker
from bgtop.worker_actions import (
    AbortJob,
    AddConsumer,
    Autoscale,
    CancelConsumer,
    GrowPool,
    RestartPool,
    SendTask,
    SetRateLimit,
    SetTimeLimits,
    ShrinkPool,
    ShutdownWorker,
)

BROKERS = ["redis", "rabbit"]
SEVERAL = ("--prefetch-multiplier", "10")
THREADS = ("-P", "threads", "-c", "2")
PREFORK = ("-P", "prefork", "-c", "1")


@pytest.fixture(params=BROKERS)
def desk(
    request: pytest.FixtureRequest, redis_server: RedisServer, make_celery, tmp_path: Path
) -> Iterator[Desk]:
    results = f"redis://127.0.0.1:{redis_server.port}/1"
    more = f"result_backend={quote(results, safe='')}"
    url = redis_server.url
    if request.param == "rabbit":
        rabbit = request.getfixturevalue("rabbit")
        url, more = rabbit.url, f"{more}&management={quote(rabbit.management, safe='')}"
    celery = make_celery(url)
    celery.results = results
    with at_desk(f"celery+{url}?{more}", celery, tmp_path) as desk:
        yield desk


def started(desk: Desk, *queues: str, name: str = "w1", **options: object) -> str:
    """A worker that is heard, and answers."""
    node = desk.celery.start_worker(name, *queues, **options)  # type: ignore[arg-type]
    desk.until(lambda: _answers(desk, node), f"{node} answers")
    return node


def _answers(desk: Desk, node: str) -> bool:
    try:
        return desk.perform(SetRateLimit(task="burn", rate="0", worker=node)).changed == 1
    except BackendError:
        return False


def children(desk: Desk, node: str) -> list[int]:
    """The processes in which it runs tasks."""
    pid = desk.celery.pid(node)
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def queues_of(desk: Desk, node: str) -> list[str]:
    """Those it takes from, as it says itself."""
    view = bgtop.inspect(desk.url, node, ("active_queues",))[node]
    return [queue["name"] for queue in view["queues"] or ()]


def refused(desk: Desk, action: Action) -> str:
    with pytest.raises(Refused) as fault:
        desk.perform(action)
    return str(fault.value)


def test_pools_change_their_size_and_workers_end(desk: Desk) -> None:
    """Processes are counted by the kernel."""
    node = started(desk, "mail", pool=PREFORK, TEST_POOL_RESTARTS="1")
    (first,) = children(desk, node)

    assert desk.perform(GrowPool(worker=node, by=2)).words == "pool will grow"
    desk.until(lambda: len(children(desk, node)) == 3, "it grows")
    assert desk.perform(ShrinkPool(worker=node)).words == "pool will shrink"
    desk.until(lambda: len(children(desk, node)) == 2, "it shrinks")
    for by in (2, 7):
        words = refused(desk, ShrinkPool(worker=node, by=by))
        assert words == f"worker {node!r} has 2 processes: one at least has to be left"
    assert len(children(desk, node)) == 2, "without any it would go on taking tasks"
    assert "Autoscale not enabled" in refused(desk, Autoscale(worker=node, least=1, most=2))
    desk.perform(RestartPool(worker=node))
    desk.until(
        lambda: children(desk, node) and first not in children(desk, node), "it has new processes"
    )
    desk.perform(SendTask(task="note", args=f'["{desk.notes_path}", 1]', queue="mail"))
    desk.until(lambda: desk.notes == [[[1], {}]], "and works")

    pid = desk.celery.pid(node)
    assert "ends" in desk.perform(ShutdownWorker(worker=node)).words
    desk.until(lambda: not lives(pid), "the process is gone")


def test_a_worker_scales_between_bounds(desk: Desk) -> None:
    node = started(desk, "mail", pool=("-P", "prefork", "--autoscale", "2,1"))

    assert "max=4 min=3" in desk.perform(Autoscale(worker=node, least=3, most=4)).words
    desk.until(lambda: len(children(desk, node)) >= 3, "there are as many as asked for")


@pytest.mark.parametrize("pool", [PREFORK, THREADS], ids=["prefork", "threads"])
def test_queues_rates_and_limits(desk: Desk, pool: tuple[str, ...], tmp_path: Path) -> None:
    node = started(desk, "mail", pool=pool, options=SEVERAL, TEST_POOL_RESTARTS="1")
    notes = f'["{desk.notes_path}"]'

    desk.perform(AddConsumer(worker=node, queue="more"))
    desk.celery.send("more", "note", desk.notes_path, "taken")
    desk.until(lambda: desk.notes == [[["taken"], {}]], "it takes from the new queue")
    assert desk.perform(CancelConsumer(worker=node, queue="more")).words == (
        "no longer consuming from more"
    )
    desk.until(lambda: queues_of(desk, node) == ["mail"], "it does so a moment after it says so")
    desk.celery.send("more", "note", desk.notes_path, "left")
    desk.celery.send("mail", "note", desk.notes_path, "after")
    desk.until(lambda: len(desk.notes) == 2, "the other queue goes on")
    assert desk.notes[1] == [["after"], {}]
    desk.until(lambda: desk.depth("more") == 1, "and it leaves that one")

    limited = desk.perform(SetRateLimit(task="note", rate="1/m"))
    assert (limited.changed, limited.words) == (1, "1 worker: new rate limit set successfully")
    for _ in range(3):
        desk.perform(SendTask(task="note", args=notes, queue="mail"))
    marker = desk.perform(SendTask(task="run.good", queue="mail", id="marker"))
    assert "marker" in marker.words
    desk.until(lambda: desk.state("marker") is JobState.SUCCEEDED, "what is not limited runs")
    assert len(desk.notes) == 3, "one of the three"
    assert "unknown task" in refused(desk, SetRateLimit(task="no.such", rate="1/m", worker=node))
    assert "Invalid" in refused(desk, SetRateLimit(task="note", rate="x", worker=node))

    limits = desk.perform(SetTimeLimits(task="hold", soft=None, hard=1, worker=node))
    assert limits.words == "time limits set successfully"
    assert "once their pool is restarted" in limits.note
    if pool is PREFORK:
        desk.perform(RestartPool(worker=node))
        _, pid = desk.start_hold("mail", str(tmp_path / "pid"))
        desk.until(lambda: not lives(pid), "its process is killed when the time is up")
    else:
        assert "grow" in refused(desk, GrowPool(worker=node))


def test_tasks_are_sent_and_asked_to_end(desk: Desk) -> None:
    """With what they were given; one that is not due waits, one that has expired never runs."""
    node = started(desk, "mail", pool=THREADS, options=SEVERAL)
    path = desk.notes_path

    desk.perform(
        SendTask(task="note", args=f'["{path}", 1]', kwargs='{"k": "ü"}', queue="mail", priority=4)
    )
    desk.until(lambda: desk.notes == [[[1], {"k": "ü"}]], "it is called")
    desk.perform(SendTask(task="note", args=f'["{path}", 2]', queue="mail", expires=0))
    desk.perform(SendTask(task="note", args=f'["{path}", 3]', queue="mail", countdown=3600))
    desk.perform(SendTask(task="abortable", args=f'["{path}"]', queue="mail", id="ab"))
    desk.until(lambda: [["begun"], {}] in desk.notes, "it runs")
    desk.perform(AbortJob(id="ab"))
    desk.until(lambda: [["asked to end"], {}] in desk.notes, "it has looked")
    assert [[2], {}] not in desk.notes
    assert [[3], {}] not in desk.notes
    desk.until(lambda: desk.state("ab") is JobState.SUCCEEDED)

    for wrong, words in (
        (SendTask(task="note", queue="nail"), "no queue 'nail'"),
        (SendTask(task="", queue="mail"), "no task can have the name"),
        (SendTask(task="note", args="{}", queue="mail"), "args has to be a list"),
        (SendTask(task="note", args="[", queue="mail"), "args is no JSON"),
        (SendTask(task="note", kwargs="[]", queue="mail"), "kwargs has to be an object"),
        (SendTask(task="note", eta="soon", queue="mail"), "no time"),
        (SendTask(task="note", eta="2030-01-01", countdown=1, queue="mail"), "either"),
        (AbortJob(id="ab"), "has ended"),
    ):
        with pytest.raises(BackendError, match=words):
            desk.perform(wrong)
    assert node


def test_who_cannot_be_told_is_said(desk: Desk, redis_server: RedisServer) -> None:
    """A stranger, one that is stopped, one that is gone: each in its own words."""
    node = started(desk, "mail", pool=THREADS)
    with pytest.raises(NoSuchTarget, match="no worker 'nobody@test'"):
        desk.perform(GrowPool(worker="nobody@test"))
    assert "not enabled" in refused(desk, RestartPool(worker=node))

    os.kill(desk.celery.pid(node), signal.SIGSTOP)
    with pytest.raises(NoReply, match="did not answer within 4 s"):
        desk.perform(ShutdownWorker(worker=node))
    with pytest.raises(NoReply, match="no worker answered"):
        desk.perform(SetRateLimit(task="note", rate="1/s"))
    other = started(desk, "other", name="w2", pool=THREADS)
    outcome = desk.perform(SetRateLimit(task="note", rate="1/s"))
    assert outcome.words.endswith(f"; {node} did not answer"), outcome
    desk.celery.kill(other)
    os.kill(desk.celery.pid(node), signal.SIGCONT)
    desk.until(lambda: _answers(desk, node), "it goes on, and was not shut down")
    with closing(redis.Redis(port=redis_server.port)) as admin:
        left = [key for key in admin.keys("*") if b"reply" in key]
        assert left == [], "late answers go nowhere"

    desk.celery.kill(node)
    with pytest.raises(NoSuchTarget, match=r"offline|no worker"):
        desk.until(lambda: desk.perform(GrowPool(worker=node)))
    with pytest.raises(NoSuchTarget, match="no worker is online"):
        desk.perform(SetRateLimit(task="note", rate="1/s"))


def test_workers_tell_what_they_know(desk: Desk) -> None:
    """Each method, of all or of some; whoever asks leaves nothing behind."""
    first = started(desk, "mail", pool=THREADS)
    started(desk, "other", name="w2", pool=THREADS)
    assert plugin.inspector is not None
    with closing(plugin.inspector(desk.url, Settings())) as inspector:
        both = inspector.workers(["ping", "active_queues"], None, 5.0)
        one = inspector.workers(
            ["stats", "registered", "conf", "clock", "query_task:x"], [first], 5.0
        )
        nobody = inspector.workers(["ping"], ["nobody@test"], 0.2)
        with pytest.raises(ValueError, match="no worker can be asked for 'shutdown'"):
            inspector.workers(["shutdown"], None, 1.0)

    assert sorted(both) == ["w1@test", "w2@test"]
    assert both[first]["ping"] == {"ok": "pong"}
    queues = both["w2@test"]["active_queues"]
    assert isinstance(queues, list)
    assert [queue["name"] for queue in queues] == ["other"]
    assert [*one] == [first]
    assert one[first].keys() == {"stats", "registered", "conf", "clock", "query_task:x"}
    assert nobody == {}


def test_a_worker_is_shown_as_one(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """What it answers and what was heard of it, merged; secrets are hidden."""
    node = started(desk, "mail", pool=PREFORK)
    desk.celery.send("mail", "wait", 60, kwargs={})
    desk.until(lambda: desk.look().workers[0].running == 1, "it runs a task")

    (view,) = bgtop.inspect(desk.url, node, timeout=5.0).values()

    assert (view["name"], view["status"], view["system"]) == (node, "online", "celery")
    assert view["pid"] == desk.celery.pid(node)
    assert view["pool"] is not None
    assert view["pool"]["processes"] == children(desk, node)
    assert view["pool"]["max_concurrency"] == 1
    assert view["pool"]["implementation"] == "celery.concurrency.prefork:TaskPool"
    assert view["heartbeat"] is not None
    assert view["load"] is not None
    assert (len(view["load"]), view["active"]) == (3, 1)
    assert view["processed_by_task"] == {"wait": 1}
    assert [task["name"] for task in view["tasks"]["active"]] == ["wait"]
    assert view["registered"] is not None
    assert "note" in view["registered"]
    assert view["queues"] is not None
    (queue,) = view["queues"]
    assert (queue["name"], queue["routing_key"]) == ("mail", "mail")
    assert queue["exchange"] == {"name": "mail", "type": "direct", "durable": True}
    assert view["rusage"] is not None
    assert view["rusage"]["utime"] > 0
    assert isinstance(view["clock"], int)
    assert view["software"]["version"] == desk.celery.version
    assert view["conf"] is not None
    assert "guest:guest" not in json.dumps(view)
    with pytest.raises(NoSuchTarget, match="no worker 'nobody@test'"):
        bgtop.inspect(desk.url, "nobody@test", timeout=0.2)

    assert main(["inspect", node, desk.url, "--timeout", "5", "--format", "json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["workers"]
    assert told.keys() == view.keys()
    assert main(["inspect", desk.url]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{node}  online  ")
    assert "kind prefork, processes 1, started with 1" in text


def test_a_system_that_was_found_can_be_asked_too(
    redis_server: RedisServer, make_celery, tmp_path: Path
) -> None:
    """Whoever has the source can ask its workers, without knowing its address."""
    celery = make_celery(redis_server.url)
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    with at_desk(f"celery+{url}", celery, tmp_path) as desk:
        node = started(desk, "mail", pool=THREADS)
    explorer = Explorer("here", url, load_broker("redis"), Settings())
    with closing(explorer):
        desk.until(lambda: explorer.poll(Interest()).complete, "it has looked around")
        (found,) = explorer.newly_found()
        feed = found.open()
    assert feed is not None
    assert feed.inspector is not None
    with closing(feed.backend), closing(feed.inspector()) as inspector:
        assert inspector.workers(["ping"], None, 5.0) == {node: {"ping": {"ok": "pong"}}}
