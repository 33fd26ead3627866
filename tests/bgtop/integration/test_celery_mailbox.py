"""Workers are asked and answer, on both brokers; what runs is what they say that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from celery_desk import Desk, at_desk
from redis_server import RedisServer

from bgtop.backends.celery.control import Mailbox
from bgtop.backends.celery.rabbit_mailbox import RabbitMailbox
from bgtop.backends.celery.redis_mailbox import RedisMailbox
from bgtop.backends.rabbit_link import RabbitLink
from bgtop.backends.rabbit_url import parse_rabbit_url
from bgtop.backends.redis_link import RedisLink
from bgtop.backends.redis_url import parse_redis_url
from bgtop.model import ALL_STATES, JobQuery, JobState
from bgtop.testing import wait_until

BROKERS = ["redis", "rabbit"]
HELD = {JobState.WAITING, JobState.RUNNING, JobState.SCHEDULED}


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, Mailbox]]:
    """URL for applications, address for bgtop, and a mailbox."""
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        with closing(RedisLink(parse_redis_url(server.url))) as link:
            mailbox = RedisMailbox(link, b"/0.")
            yield server.url, f"celery+{server.url}?ask_workers=yes", mailbox
        return
    rabbit = request.getfixturevalue("rabbit")
    more = f"?ask_workers=yes&management={quote(rabbit.management, safe='')}"
    with closing(RabbitLink(parse_rabbit_url(rabbit.url))) as amqp:
        yield rabbit.url, f"celery+{rabbit.url}{more}", RabbitMailbox(amqp)


@pytest.fixture
def mailbox(broker: tuple[str, str, Mailbox]) -> Mailbox:
    return broker[2]


@pytest.fixture
def desk(broker: tuple[str, str, Mailbox], make_celery: Callable, tmp_path: Path) -> Iterator[Desk]:
    celery = make_celery(broker[0])
    with at_desk(broker[1], celery, tmp_path) as desk:
        yield desk


def all_answer(mailbox: Mailbox, *nodes: str) -> None:
    wait_until(
        lambda: {answer.node for answer in mailbox.ask("ping").answers} == {*nodes},
        seconds=30,
        why=f"{nodes} answer",
    )


def test_commands_and_their_answers(desk: Desk, mailbox: Mailbox, tmp_path: Path) -> None:
    w1 = desk.start_worker("mail", name="w1")
    w2 = desk.start_worker("other", name="w2")
    running, pid = desk.start_hold("mail", str(tmp_path / "pid"))
    reserved = desk.celery.send("mail", "note", desk.notes_path)
    scheduled = desk.celery.send("other", "note", desk.notes_path, countdown=3600)
    all_answer(mailbox, w1, w2)

    def told(command: str, node: str) -> object:
        heard = mailbox.ask(command, nodes=[node])
        (answer,) = heard.answers
        assert (answer.node, answer.error) == (node, None)
        return answer.value

    assert told("ping", w1) == {"ok": "pong"}
    stats = told("stats", w1)
    assert isinstance(stats, dict)
    assert stats["pid"] == desk.celery.pid(w1)
    assert pid in stats["pool"]["processes"]
    assert [one["id"] for one in told("active", w1)] == [running]
    wait_until(lambda: [one["id"] for one in told("reserved", w1)] == [reserved])
    wait_until(lambda: [one["request"]["id"] for one in told("scheduled", w2)] == [scheduled])
    assert [one["name"] for one in told("active_queues", w2)] == ["other"]
    everyone = mailbox.ask("active_queues")
    assert {answer.node for answer in everyone.answers} == {w1, w2}
    assert told("active", w2) == []


def test_one_that_is_not_there_or_cannot_do_it(desk: Desk, mailbox: Mailbox) -> None:
    node = desk.start_worker("mail")
    all_answer(mailbox, node)
    began = time.monotonic()

    heard = mailbox.ask("ping", nodes=["nobody@test"], seconds=0.3)
    (failed,) = mailbox.ask("autoscale", {"max": 2, "min": 1}).answers

    assert heard.answers == ()
    assert not heard.by_all
    assert failed.node == node
    assert "ValueError" in str(failed.error)
    assert time.monotonic() - began < 5


def test_nobody_is_there(mailbox: Mailbox) -> None:
    assert mailbox.ask("ping", seconds=0.2).answers == ()


def test_what_runs_is_what_workers_say(desk: Desk, tmp_path: Path) -> None:
    node = desk.start_worker("mail")
    running, _ = desk.start_hold("mail", str(tmp_path / "pid"))
    # What is not due makes room for one more to be fetched.
    later = desk.celery.send("mail", "note", desk.notes_path, countdown=3600)
    reserved = desk.celery.send("mail", "note", desk.notes_path)
    desk.until(lambda: len(desk.jobs(worker=node).rows) == 3)

    listed = desk.jobs(queue="mail", states=frozenset({JobState.RUNNING}))
    (job,) = listed.rows
    its_own = {row.id: row.state for row in desk.jobs(worker=node).rows}
    whole = desk.job(running)

    assert listed.unreadable == frozenset()
    assert (job.id, job.state, job.worker) == (running, JobState.RUNNING, node)
    assert (job.name, job.queue) == ("hold", "mail")
    assert str(tmp_path) in str(job.args)
    assert job.started_at is not None
    assert abs(datetime.now(timezone.utc) - job.started_at) < timedelta(minutes=1)
    assert its_own == {
        running: JobState.RUNNING,
        reserved: JobState.WAITING,
        later: JobState.SCHEDULED,
    }
    assert whole is not None
    assert (whole.state, whole.worker) == (JobState.RUNNING, node)
    assert desk.jobs(worker=node).unreadable == ALL_STATES - HELD
    assert desk.jobs(worker="nobody").rows == ()
    assert desk.jobs(queue="other", states=frozenset({JobState.RUNNING})).rows == ()


def test_a_worker_that_cannot_answer_is_told(desk: Desk, tmp_path: Path) -> None:
    node = desk.celery.start_worker("w1", "mail", pool=("-P", "solo"))
    desk.until(lambda: any(w.name == node and w.last_heartbeat_at for w in desk.look().workers))
    desk.celery.send("mail", "wait", 60)
    desk.until(lambda: "some workers do not say what they run" in warnings(desk))


def warnings(desk: Desk) -> tuple[str, ...]:
    return desk.look(jobs=JobQuery(states=frozenset({JobState.RUNNING}))).warnings


# Answers nobody should believe

JUNK = [b"", b"{", b"[]", b'{"headers": 5}', b'{"headers": {}, "body": 7, "properties": {}}']


def test_answers_that_are_none_are_left_out(redis_server: RedisServer, admin: redis.Redis) -> None:
    with closing(RedisLink(parse_redis_url(redis_server.url))) as link, ExitStack() as stack:
        listener = stack.enter_context(admin.pubsub())
        listener.psubscribe("*.pidbox")
        listener.get_message(timeout=5)
        original = RedisMailbox._collect

        def answered(self: RedisMailbox, key: bytes, *more: object) -> None:
            admin.lpush(key, *JUNK)
            original(self, key, *more)  # type: ignore[arg-type]

        stack.enter_context(pytest.MonkeyPatch.context()).setattr(
            RedisMailbox, "_collect", answered
        )
        heard = RedisMailbox(link, b"/0.").ask("ping", seconds=0.2)

    assert (heard.answers, heard.listeners) == ((), 1)
    assert admin.keys("*") == []
