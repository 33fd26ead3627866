"""Single messages of Dramatiq in Redis: what is shown of them, and what actions really do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import redis
from dramatiq import Message
from dramatiq.results.backends import RedisBackend
from job_lists import by_state, listed, one
from redis_rights import operator_url

from bgtop.actions import (
    JOB_VERBS,
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    RetryJob,
    Verb,
)
from bgtop.backends.dramatiq import plugin
from bgtop.contracts import Backend, NoSuchTarget, NotPermitted, Settings, Unsupported
from bgtop.model import ALL_STATES, JobState
from bgtop.testing import queue_in, settled, wait_until

HOUR = 3_600_000
DEAD = frozenset({JobState.DEAD})


@pytest.fixture
def backend(redis_server, admin) -> Iterator[Backend]:
    """With the rights that are documented, and no others."""
    url = "dramatiq+" + operator_url(admin, redis_server.port, "dramatiq")
    with closing(plugin.open(url, Settings())) as backend:
        yield backend
    assert [entry["object"] for entry in admin.acl_log()] == []


class Mending:
    """Messages that fail until ``path`` is there, and then write their word into it."""

    def __init__(self, dramatiq, admin: redis.Redis, path: Path) -> None:
        self.dramatiq, self.admin, self.path = dramatiq, admin, path

    def fail(self, queue: str, *words: str, actor: str = "mend") -> list[str]:
        """Their ids, once all are dead and the worker is gone."""
        ids = [
            self.dramatiq.put(queue, 1, actor=actor, args=(str(self.path), word))[0]
            for word in words
        ]
        worker = self.dramatiq.start_worker(queue)
        key = f"dramatiq:{queue}.XQ"
        wait_until(lambda: self.admin.zcard(key) == len(words), seconds=20, why="all are dead")
        self.dramatiq.end(worker)
        return ids

    def work_off(self, queue: str) -> list[str]:
        """What ran, by its own words, once the queue is empty."""
        self.path.touch()
        worker = self.dramatiq.start_worker(queue)
        wait_until(lambda: not self.admin.hlen(f"dramatiq:{queue}.msgs"), seconds=20, why="done")
        self.dramatiq.end(worker)
        return self.path.read_text().split()


@pytest.fixture
def mending(dramatiq, admin, tmp_path: Path) -> Mending:
    return Mending(dramatiq, admin, tmp_path / "ran")


def test_messages_are_shown_in_their_states(dramatiq, backend, mending, admin) -> None:
    (dead,) = mending.fail("mail", "a b")
    waiting = dramatiq.put("mail", 3, args=(1, {"to": "ä"}))
    later = dramatiq.put("mail", 1, delay=HOUR) + dramatiq.put("mail", 1, delay=HOUR // 2)
    with dramatiq.holding("mail", 1):
        jobs = listed(backend)
        assert by_state(jobs) == {
            JobState.WAITING: waiting[1:],
            JobState.RUNNING: waiting[:1],
            JobState.SCHEDULED: [later[1], later[0]],
            JobState.DEAD: [dead],
        }
        assert (jobs.more, jobs.unreadable) == (False, {JobState.SUCCEEDED})
        held = next(row for row in jobs.rows if row.state is JobState.RUNNING)
        assert held.worker == dramatiq.producer
        assert "not known" in dict(held.facts)["delivered"]
        assert by_state(listed(backend, worker=held.worker)) == {JobState.RUNNING: waiting[:1]}

    row = one(backend, dead)
    now = datetime.now(timezone.utc)
    assert (row.name, row.queue, dict(row.facts)["retries"]) == ("mend", "mail", "1")
    assert json.loads(row.args) == [str(mending.path), "a b"]
    assert row.error == "ValueError: no a b"
    assert row.traceback.startswith("Traceback")
    assert now - timedelta(minutes=1) < row.enqueued_at < row.ended_at < now
    row = one(backend, waiting[2])
    assert (row.args, row.kwargs) == ('[1, {"to": "ä"}]', "{}")
    assert one(backend, dict(row.facts)["redis_message_id"]) == row
    assert one(backend, "none") is None
    few = listed(backend, queue="mail", limit=2, states=frozenset({JobState.WAITING}))
    # What was held is given back to the end of the list.
    assert ([row.id for row in few.rows], few.more) == (waiting[1:], True)
    assert listed(backend, queue="other").rows == ()


def test_an_agent_tells_what_runs_and_what_waits_in_a_workers_memory(
    dramatiq, backend, tmp_path
) -> None:
    worker = dramatiq.start_worker("mail", agent=True, threads=1)
    ids = dramatiq.put("mail", 2, actor="wait", args=(str(tmp_path / "go"),))
    expected = {JobState.WAITING: ids[1:], JobState.RUNNING: ids[:1]}
    wait_until(lambda: by_state(listed(backend)) == expected, seconds=20, why="one runs")
    rows = listed(backend).rows

    assert {row.worker for row in rows} == {worker}
    assert [row.started_at is None for row in rows] == [True, False]
    for action in (CancelJob(id=ids[0]), DeleteJob(id=ids[0])):
        with pytest.raises(NoSuchTarget, match="has taken"):
            backend.perform(action)
    with pytest.raises(Unsupported, match="stop that worker"):
        backend.perform(CancelJob(id=ids[0], terminate=True))


def test_a_result_in_the_same_database_is_shown(dramatiq, backend, redis_server, admin) -> None:
    message: Message[int] = Message("mail", "add", (1, 2), {}, {})
    dramatiq.broker.enqueue(message)
    dramatiq.forget_producer()
    assert one(backend, message.message_id).result is None
    with closing(redis.Redis(port=redis_server.port)) as client:
        RedisBackend(client=client).store_result(message, {"sum": 3}, 60_000)
    assert one(backend, message.message_id).result == '{"sum": 3}'

    admin.delete("dramatiq:mail", "dramatiq:mail.msgs")
    row = one(backend, message.message_id)
    assert (row.state, row.name, row.result) == (JobState.SUCCEEDED, "add", '{"sum": 3}')


def test_a_dead_letter_runs_again_with_its_own_arguments(backend, mending, admin) -> None:
    """As if it were new: its failures are forgotten, and so is its age, which its task limits."""
    first, second = mending.fail("mail", "one", "two")
    key = "dramatiq:mail.XQ.msgs"
    for redis_id, body in admin.hgetall(key).items():
        old = json.loads(body)
        assert old["options"]["retries"] == 1
        old["message_timestamp"] -= HOUR
        admin.hset(key, redis_id, json.dumps(old))

    assert backend.perform(RetryJob(id=first)).changed == 1
    with pytest.raises(NoSuchTarget, match="not dead"):
        backend.perform(RetryJob(id=first))
    row = one(backend, first)
    assert (row.state, row.attempts, row.error) == (JobState.WAITING, 0, None)
    assert mending.work_off("mail") == ["one"]
    assert by_state(listed(backend)) == {JobState.DEAD: [second]}


def test_dead_letters_are_sent_again_by_queue_and_task(backend, mending, admin) -> None:
    mending.fail("mail", "one", "two", "three")
    mending.fail("other", "four")
    died = admin.zrange("dramatiq:mail.XQ", 0, -1)

    assert backend.perform(RequeueFailed(queue="nobody")).changed == 0
    assert backend.perform(RequeueFailed(task="add")).changed == 0
    assert backend.perform(RequeueFailed(queue="mail", task="mend")).changed == 3
    assert admin.lrange("dramatiq:mail", 0, -1) == died
    assert sorted(mending.work_off("mail")) == ["one", "three", "two"]
    assert queue_in(settled(backend), "other").dead == 1
    assert backend.perform(RequeueFailed()).changed == 1


def test_what_nobody_has_taken_can_be_cancelled_and_purged(
    dramatiq, backend, mending, admin
) -> None:
    waiting = [
        dramatiq.put("mail", 1, actor="mend", args=(str(mending.path), word))[0]
        for word in ("held", "a", "b", "c")
    ]
    (later,) = dramatiq.put("mail", 1, delay=HOUR)
    with dramatiq.holding("mail", 1):
        assert backend.perform(CancelJob(id=waiting[2])).changed == 1
        assert backend.perform(PurgeQueue(queue="mail")).changed == 2
        assert backend.perform(PurgeQueue(queue="mail")).changed == 0
        with pytest.raises(NoSuchTarget, match="no queue 'nobody'"):
            backend.perform(PurgeQueue(queue="nobody"))
        assert admin.hlen("dramatiq:mail.msgs") == 1
    assert mending.work_off("mail") == ["held"]
    assert by_state(listed(backend)) == {JobState.SCHEDULED: [later]}
    assert backend.perform(CancelJob(id=later)).changed == 1
    assert listed(backend).rows == ()
    assert not admin.exists("dramatiq:mail.DQ", "dramatiq:mail.DQ.msgs")


def test_what_is_not_dramatiqs_is_shown_as_such_and_moved_as_it_is(
    dramatiq, backend, admin
) -> None:
    """Another encoder, a huge body, broken JSON, an id without end; the rest stays right."""
    (good,) = dramatiq.put("mail", 1)
    bodies = {"pickle": b"\x80\x04.", "broken": b'{"message_id": [', "huge": b"{" * 200_000}
    for number, (redis_id, body) in enumerate(bodies.items()):
        admin.hset("dramatiq:mail.XQ.msgs", redis_id, body)
        admin.zadd("dramatiq:mail.XQ", {redis_id: number + 1})
    admin.rpush("dramatiq:mail", "x" * 5_000, "gone")
    jobs = listed(backend)

    rows = {row.id: row for row in jobs.rows}
    assert set(rows) == {good, *bodies, "x" * 64}
    assert {name for name, row in rows.items() if row.malformed} == {"pickle", "broken", "x" * 64}
    assert "200,000 bytes" in dict(rows["huge"].facts)["size"]
    assert backend.perform(RequeueFailed()).changed == 3
    assert {name: admin.hget("dramatiq:mail.msgs", name) for name in bodies} == bodies
    assert not admin.exists("dramatiq:mail.XQ", "dramatiq:mail.XQ.msgs")
    assert backend.perform(DeleteJob(id="huge")).changed == 1
    assert not admin.hexists("dramatiq:mail.msgs", "huge")


def test_nothing_is_lost_where_a_key_is_of_another_type(backend, mending, admin) -> None:
    (dead,) = mending.fail("mail", "one")
    settled(backend)
    admin.set("dramatiq:mail", "not a list")

    with pytest.raises(Exception, match="not of Dramatiq's types"):
        backend.perform(RetryJob(id=dead))
    assert (admin.zcard("dramatiq:mail.XQ"), admin.hlen("dramatiq:mail.XQ.msgs")) == (1, 1)


def test_who_may_only_read_is_refused_in_words(dramatiq, admin, redis_server) -> None:
    (waiting,) = dramatiq.put("mail", 1)
    rights = "reset on >secret ~dramatiq:* +@read +@connection -@dangerous +info"
    admin.execute_command("ACL", "SETUSER", "mon", *rights.split())
    url = f"dramatiq+redis://mon:secret@127.0.0.1:{redis_server.port}/0"
    with closing(plugin.open(url, Settings())) as backend:
        assert by_state(listed(backend)) == {JobState.WAITING: [waiting]}
        with pytest.raises(NotPermitted, match="does not let us change"):
            backend.perform(DeleteJob(id=waiting))
        admin.execute_command("ACL", "SETUSER", "mon", "+eval")
        with pytest.raises(NotPermitted, match="does not let us change"):
            backend.perform(DeleteJob(id=waiting))
        with pytest.raises(Unsupported, match="cannot pause"):
            backend.perform(PauseQueue(queue="mail"))
        assert backend.info.verbs == JOB_VERBS - {Verb.PAUSE, Verb.RESUME}
        assert listed(backend, states=ALL_STATES - DEAD).rows
