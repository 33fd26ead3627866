"""Single tasks of Huey: what is shown of them, and what actions really do, in every storage."""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import huey as library
import pytest
from huey.serializer import Serializer, SignedSerializer
from huey_tasks import register
from job_lists import by_state, listed, one
from redis_rights import operator_url

from bgtop.actions import (
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    RetryJob,
    Verb,
)
from bgtop.backends.huey import plugin
from bgtop.contracts import Backend, NoSuchTarget, NotPermitted, Settings, Unsupported
from bgtop.model import JobState
from bgtop.testing import queue_in, settled, wait_until

REDIS = ("RedisHuey", "PriorityRedisHuey", "RedisExpireHuey", "PriorityRedisExpireHuey")


@pytest.fixture(params=[*REDIS, "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "huey.db"


@pytest.fixture
def huey(kind: str, path: Path, make_huey: Callable, request: pytest.FixtureRequest) -> Any:
    if kind == "sqlite":
        return make_huey(kind, str(path))
    return make_huey(kind, request.getfixturevalue("redis_server").url)


@pytest.fixture
def backend(kind: str, path: Path, huey: Any, request: pytest.FixtureRequest) -> Iterator[Backend]:
    """With the rights that are documented, and no others."""
    url = f"sqlite:///{path}"
    admin = None
    if kind == "sqlite":
        huey.app("mail")
    else:
        admin = request.getfixturevalue("admin")
        url = operator_url(admin, request.getfixturevalue("redis_server").port, "huey")
    with closing(plugin.open(f"huey+{url}", Settings(read_timeout=2))) as backend:
        yield backend
    assert admin is None or [entry["object"] for entry in admin.acl_log()] == []


class Traces:
    """Tasks that leave their word in a file, and consumers that work off what waits."""

    def __init__(self, huey: Any, folder: Path) -> None:
        self.huey, self.file = huey, folder / "trace"

    def put(self, *words: str, **options: Any) -> list[str]:
        writes = self.huey.tasks("mail")["writes"]
        return [writes(str(self.file), word, **options).id for word in words]

    def schedule(self, word: str, delay: float) -> str:
        writes = self.huey.tasks("mail")["writes"]
        return str(writes.schedule((str(self.file), word), delay=delay).id)

    def work_off(self) -> list[str]:
        """What ran, by its word, once a consumer has done all that waits."""
        app = self.huey.app("mail")
        consumer = self.huey.start_consumer("mail")
        wait_until(lambda: not app.storage.queue_size(), seconds=20, why="all are taken")
        self.huey.stop(consumer)
        return self.file.read_text().split() if self.file.exists() else []


@pytest.fixture
def traces(huey: Any, tmp_path: Path) -> Traces:
    return Traces(huey, tmp_path)


def test_tasks_are_shown_and_cancelled_ones_never_run(kind, huey, backend, traces) -> None:
    """A revoked task is passed over, also one that is not due and comes due later."""
    soon, later = traces.schedule("soon", 3), traces.schedule("later", 3600)
    assert traces.work_off() == []
    ids = traces.put("a", "b", "c")
    jobs = listed(backend)
    assert by_state(jobs) == {JobState.WAITING: ids, JobState.SCHEDULED: [soon, later]}
    assert jobs.unreadable == {JobState.SUCCEEDED, JobState.FAILED, JobState.RUNNING}
    few = listed(backend, queue="mail", states=frozenset({JobState.WAITING}), limit=2)
    assert ([row.id for row in few.rows], few.more) == (ids[:2], True)
    row = one(backend, ids[1])
    assert (row.name, row.queue) == ("huey_tasks.writes", "mail")
    assert (row.args, row.kwargs) == (f'["{traces.file}", "b"]', "{}")
    assert ("Priority" in kind) == (row.enqueued_at is not None)
    due = one(backend, later).due_at
    assert timedelta(minutes=55) < due - datetime.now(timezone.utc) < timedelta(minutes=61)
    assert one(backend, "no-such") is None

    for gone in (ids[0], soon):
        assert backend.perform(CancelJob(id=gone)).changed == 1
        assert one(backend, gone).state is JobState.CANCELLED
    assert by_state(listed(backend))[JobState.CANCELLED] == [ids[0], soon]
    assert traces.huey.app("mail").storage.schedule_size() == 2
    consumer = huey.start_consumer("mail")
    storage = traces.huey.app("mail").storage
    # On its way from the schedule to the queue the task is for a moment in neither.
    wait_until(
        lambda: len(listed(backend).rows) == 1 and not storage.has_data_for_key(f"r:{soon}"),
        seconds=20,
        why="all are taken",
    )
    huey.stop(consumer)
    assert traces.file.read_text().split() == ["b", "c"]
    assert by_state(listed(backend)) == {JobState.SCHEDULED: [later]}


def test_what_is_deleted_or_purged_never_runs(kind, backend, traces) -> None:
    later = traces.schedule("later", 3600)
    traces.work_off()
    first, second, third = traces.put("a", "b", "c")
    assert backend.perform(DeleteJob(id=second)).changed == 1
    with pytest.raises(NoSuchTarget, match="cannot be called back"):
        backend.perform(DeleteJob(id=second))
    assert by_state(listed(backend))[JobState.WAITING] == [first, third]
    assert traces.work_off() == ["a", "c"]

    traces.put("d", "e", **({"priority": 5} if "Redis" not in kind or "Priority" in kind else {}))
    traces.put("f")
    with pytest.raises(NoSuchTarget, match="no queue 'nobody'"):
        backend.perform(PurgeQueue(queue="nobody"))
    assert backend.perform(PurgeQueue(queue="mail")).changed == 3
    assert backend.perform(PurgeQueue(queue="mail")).changed == 0
    assert queue_in(settled(backend), "mail").depth == 0
    assert backend.perform(DeleteJob(id=later)).changed == 1
    assert listed(backend).rows == ()
    assert traces.work_off() == ["a", "c"]


def test_results_are_found_by_id_and_forgotten(huey, backend, traces) -> None:
    tasks = huey.tasks("mail")
    sums, fails = tasks["add"](20, 22).id, tasks["fails"]().id
    assert by_state(listed(backend)) == {JobState.WAITING: [sums, fails]}
    traces.work_off()
    row = wait_until(lambda: one(backend, sums), why="the result is stored")
    assert (row.state, row.result, row.queue) == (JobState.SUCCEEDED, "42", "mail")
    row = wait_until(lambda: one(backend, fails), why="the error is stored")
    assert (row.state, row.error) == (JobState.FAILED, "ValueError('boom')")
    assert row.traceback.strip().endswith("ValueError: boom")
    assert backend.perform(DeleteJob(id=fails)).changed == 1
    assert one(backend, fails) is None
    for action in (RequeueFailed(), PauseQueue(queue="mail")):
        with pytest.raises(Unsupported, match="Huey"):
            backend.perform(action)
    with pytest.raises(NoSuchTarget, match="cannot be called back"):
        backend.perform(RetryJob(id=sums))
    assert backend.info.verbs == {Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.PURGE}


@pytest.mark.parametrize("kind", ["RedisHuey"], indirect=True)
def test_an_agent_tells_what_runs(huey, backend, tmp_path) -> None:
    huey.put("mail", 1, task="waits")
    (waiting,) = listed(backend).rows
    consumer = huey.start_consumer("mail", agent=True)
    running = {JobState.RUNNING: [waiting.id]}
    wait_until(lambda: by_state(listed(backend)) == running, seconds=20, why="it runs")
    (row,) = listed(backend, queue="mail").rows
    assert (row.name, row.queue) == ("waits", "mail")
    assert row.started_at is not None
    assert by_state(listed(backend, worker=row.worker)) == running
    assert listed(backend).unreadable == {JobState.SUCCEEDED, JobState.FAILED}
    with pytest.raises(Unsupported, match="stop its consumer"):
        backend.perform(CancelJob(id=row.id, terminate=True))
    with pytest.raises(NoSuchTarget):
        backend.perform(CancelJob(id=row.id))
    huey.release()
    huey.stop(consumer)


def application(kind: str, path: Path, url: str, serializer: Serializer) -> Any:
    if kind == "sqlite":
        return library.SqliteHuey("mail", filename=str(path), serializer=serializer)
    return getattr(library, kind)("mail", url=url, serializer=serializer)


class Spelled(Serializer):
    """A serializer of an application's own."""

    def _serialize(self, data: Any) -> bytes:
        return b"mine:" + pickle.dumps(data)

    def _deserialize(self, data: bytes) -> Any:
        return pickle.loads(data[5:])


@pytest.mark.parametrize("kind", ["RedisHuey", "RedisExpireHuey", "sqlite"], indirect=True)
@pytest.mark.parametrize("how", ["gzip", "zlib", "signed", "own"])
def test_other_serializers_are_understood_or_left_alone(kind, how, path, huey, backend) -> None:
    """What is compressed can be revoked; a signature nobody can forge; what is odd is deleted."""
    serializer = {
        "gzip": lambda: Serializer(compression=True),
        "zlib": lambda: Serializer(compression=True, use_zlib=True),
        "signed": lambda: SignedSerializer(secret="secret"),
        "own": Spelled,
    }[how]()
    app = application(kind, path, huey.place, serializer)
    add = register(app)["add"]
    ids = [add(1, 2).id for _ in range(2)]
    rows = listed(backend).rows
    assert [row.malformed for row in rows] == [how == "own"] * 2
    if how in ("signed", "own"):
        assert [row.name for row in rows] == [None if how == "own" else "huey_tasks.add"] * 2
        with pytest.raises(Unsupported, match="delete it"):
            backend.perform(CancelJob(id=rows[0].id))
        assert backend.perform(DeleteJob(id=rows[0].id)).changed == 1
        assert [app.execute(app.dequeue())] == [3]
    else:
        assert [row.id for row in rows] == ids
        backend.perform(CancelJob(id=ids[0]))
        assert [app.execute(app.dequeue()) for _ in ids] == [None, 3]
    assert app.storage.queue_size() == 0
    getattr(app.storage, "close", app.storage.conn.close)()
    if hasattr(app.storage, "pool"):
        app.storage.pool.disconnect()


@pytest.mark.parametrize("kind", ["RedisHuey", "PriorityRedisHuey"], indirect=True)
def test_hostile_elements_are_shown_as_such(kind, huey, backend, admin) -> None:
    huey.put("mail", 1)
    bomb = b"\x80\x04" + b"(" * 30_000 + b"t" * 30_000 + b"."
    odd = [b"", b"cos\nsystem\n(S'touch ran'\ntR.", bomb, b"x" * 200_000, b"\x1f\x8b\x00"]
    for number, raw in enumerate(odd):
        if kind == "RedisHuey":
            admin.lpush("huey.redis.mail", raw)
        else:
            admin.zadd("huey.redis.mail", {b"%08d" % number + raw: number + 1})
    rows = listed(backend).rows

    assert len(rows) == len(odd) + 1
    assert [row.malformed for row in rows].count(True) == 4
    assert rows[0].name == "huey_tasks.add"
    (huge,) = [row for row in rows if not row.malformed and row.name is None]
    assert "200,000 bytes" in dict(huge.facts)["size"]
    assert backend.perform(DeleteJob(id=rows[-1].id)).changed == 1
    assert len(listed(backend).rows) == len(odd)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_file_that_may_not_be_written_or_is_busy_is_told(path, backend, traces) -> None:
    (waiting,) = traces.put("a")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("INSERT INTO task (queue, data) VALUES ('mail', 5), ('mail', 'x')")
        writer.execute("INSERT INTO task (queue, data) VALUES ('mail', zeroblob(1000000))")
        rows = listed(backend).rows
        assert [row.malformed for row in rows] == [False, True, True, False]
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Exception, match="locked"):
            backend.perform(DeleteJob(id=waiting))
        writer.execute("ROLLBACK")
    assert backend.perform(DeleteJob(id=rows[3].id)).changed == 1
    assert backend.perform(DeleteJob(id=waiting)).changed == 1
    if os.geteuid():
        path.chmod(0o444)
        with pytest.raises(NotPermitted, match="not write"):
            backend.perform(DeleteJob(id=rows[1].id))
