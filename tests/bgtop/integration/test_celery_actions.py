"""What bgtop does to real Celery on a real Redis has its effect; what cannot be done is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from celery_desk import Desk, assert_retried_with_its_own_arguments, at_desk, failed, lives
from redis_server import RedisServer

from bgtop.actions import (
    WORKER_VERBS,
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
)
from bgtop.contracts import BackendError, NoSuchTarget, NotPermitted, Unsupported
from bgtop.model import Capability, JobState

SEP = b"\x06\x16"


@pytest.fixture
def open_desk(redis_server, make_celery, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """An application with results in database ``results``, and bgtop that knows of them."""
    with ExitStack() as stack:

        def open_desk(prefix: str = "", results: int | None = 1, **options: object) -> Desk:
            celery = make_celery(redis_server.url, prefix, **options)
            more = ""
            if results is not None:
                place = f"redis://127.0.0.1:{redis_server.port}/{results}"
                celery.results, more = place, f"?result_backend={quote(place, safe='')}"
            url = f"celery+redis://127.0.0.1:{redis_server.port}/0{more}"
            return stack.enter_context(at_desk(url, celery, tmp_path))

        yield open_desk


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


# Purge


def test_a_purged_queue_is_empty_in_all_priorities(desk: Desk, admin: redis.Redis) -> None:
    for priority in (0, 3, 6, 9):
        desk.celery.put("mail", 2, priority=priority)
    desk.celery.put("other", 3)

    outcome = desk.perform(PurgeQueue(queue="mail"))

    assert outcome.changed == 8
    assert desk.depth("mail") in {0, None}
    assert desk.depth("other") == 3
    assert not admin.keys("mail*")


def test_a_purge_leaves_what_is_no_list(desk: Desk, admin: redis.Redis) -> None:
    desk.celery.put("mail", 2)
    admin.set(b"mail" + SEP + b"3", "precious")

    outcome = desk.perform(PurgeQueue(queue="mail"))

    assert outcome.changed == 2
    assert "no list" in outcome.words
    assert admin.get(b"mail" + SEP + b"3") == b"precious"


def test_a_purged_queue_goes_on(desk: Desk) -> None:
    desk.celery.put("mail", 5)
    desk.perform(PurgeQueue(queue="mail"))
    desk.start_worker("mail")

    desk.celery.send("mail", "note", desk.notes_path, "after")

    desk.until(lambda: desk.notes == [[["after"], {}]])


def test_a_queue_that_is_not_there_is_not_purged(desk: Desk) -> None:
    desk.celery.put("mail")

    with pytest.raises(NoSuchTarget, match="no queue 'nail'"):
        desk.perform(PurgeQueue(queue="nail"))


# Delete


@pytest.mark.parametrize("priority", [0, 3])
def test_a_deleted_task_never_runs(desk: Desk, priority: int) -> None:
    sent = [
        desk.celery.send("mail", "note", desk.notes_path, number, priority=priority)
        for number in range(5)
    ]

    outcome = desk.perform(DeleteJob(id=sent[2]))

    assert outcome.changed == 1
    desk.start_worker("mail")
    desk.until(lambda: len(desk.notes) == 4)
    assert [args for args, _ in desk.notes] == [[0], [1], [3], [4]]
    with pytest.raises(NoSuchTarget):
        desk.perform(DeleteJob(id=sent[2]))


def test_what_a_worker_holds_is_not_deleted(desk: Desk) -> None:
    task = desk.celery.send("mail", "note", desk.notes_path)

    with desk.celery.holding("mail", 1), pytest.raises(NoSuchTarget, match="cancel it"):
        desk.perform(DeleteJob(id=task))


def test_a_failed_task_is_forgotten_with_its_result(desk: Desk) -> None:
    desk.start_worker("mail")
    task = failed(desk)

    outcome = desk.perform(DeleteJob(id=task))

    assert outcome.changed == 1
    assert desk.job(task) is None


def test_a_malformed_message_can_be_deleted(desk: Desk, admin: redis.Redis) -> None:
    desk.celery.put("mail")
    admin.rpush("mail", b"{broken", b"\xff\x00")
    bad = [row.id for row in desk.jobs(queue="mail").rows if row.malformed]

    for one in bad:
        desk.perform(DeleteJob(id=one))

    assert len(bad) == 2
    assert desk.depth("mail") == 1


# Cancel


def test_a_cancelled_task_never_runs(desk: Desk, tmp_path: Path) -> None:
    desk.start_worker("mail")
    _, pid = desk.start_hold("mail", str(tmp_path / "pid"))
    # The pool has one process, so none of these is begun; the first is fetched.
    sent = [desk.celery.send("mail", "note", desk.notes_path, number) for number in range(4)]
    desk.until(lambda: desk.depth("mail") == 3)

    fetched, waiting = (desk.perform(CancelJob(id=sent[number])) for number in (0, 2))

    assert (fetched.changed, waiting.changed) == (1, 1)
    assert "discarded by 1 worker;" in fetched.words
    assert "taken out of its queue" in waiting.words
    os.kill(pid, signal.SIGKILL)
    desk.until(lambda: len(desk.notes) == 2)
    assert [args for args, _ in desk.notes] == [[1], [3]]
    desk.until(lambda: desk.state(sent[0]) is desk.state(sent[2]) is JobState.CANCELLED)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_running_task_is_stopped_by_terminate_only(desk: Desk, tmp_path: Path, name: str) -> None:
    desk.start_worker("mail")
    task, pid = desk.start_hold("mail", str(tmp_path / "pid"))

    with pytest.raises(NoSuchTarget, match="only terminate stops it"):
        desk.perform(CancelJob(id=task))
    assert lives(pid)
    outcome = desk.perform(CancelJob(id=task, terminate=True, signal=name))

    assert outcome.changed == 1
    assert "w1@test" in outcome.words
    desk.until(lambda: not lives(pid), "its process has ended")
    desk.until(lambda: desk.state(task) is JobState.CANCELLED)
    desk.celery.send("mail", "note", desk.notes_path, "next")
    desk.until(lambda: desk.notes == [[["next"], {}]], "the worker goes on")


@pytest.mark.same_python  # before 5.7 its result is stored when it would be due
def test_a_task_that_is_not_due_yet_is_cancelled(desk: Desk) -> None:
    desk.start_worker("mail")
    task = desk.celery.send("mail", "note", desk.notes_path, countdown=3600)
    desk.until(lambda: desk.state(task) is JobState.SCHEDULED)

    assert desk.perform(CancelJob(id=task)).changed == 1

    desk.until(lambda: desk.state(task) is JobState.CANCELLED)


def test_a_task_cancelled_before_any_worker_starts_never_runs(desk: Desk) -> None:
    sent = [desk.celery.send("mail", "note", desk.notes_path, number) for number in range(2)]

    assert desk.perform(CancelJob(id=sent[0])).changed == 1

    assert desk.state(sent[0]) is JobState.CANCELLED
    desk.start_worker("mail")
    desk.until(lambda: desk.notes == [[[1], {}]])
    with pytest.raises(NoSuchTarget, match="has ended: cancelled"):
        desk.perform(CancelJob(id=sent[0]))


@pytest.mark.same_python
def test_who_waits_for_the_result_is_told_of_the_end(desk: Desk) -> None:
    from celery.exceptions import TaskRevokedError
    from celery.result import AsyncResult

    desk.celery.app.conf.result_backend = desk.celery.results
    task = desk.celery.send("mail", "note", desk.notes_path)
    pending = AsyncResult(task, app=desk.celery.app)
    threading.Timer(0.2, desk.perform, (CancelJob(id=task),)).start()

    with pytest.raises(TaskRevokedError):
        pending.get(timeout=10)


def test_what_a_lost_worker_holds_cannot_be_cancelled(desk: Desk) -> None:
    task = desk.celery.send("mail", "note", desk.notes_path)

    with (
        desk.celery.holding("mail", 1),
        pytest.raises(BackendError, match="no worker listens"),
    ):
        desk.perform(CancelJob(id=task))


def test_what_is_nowhere_or_has_ended_is_not_cancelled(desk: Desk) -> None:
    desk.start_worker("mail")
    task = failed(desk)

    with pytest.raises(NoSuchTarget, match="has ended: failed"):
        desk.perform(CancelJob(id=task))
    with pytest.raises(NoSuchTarget, match="no queue and no worker has"):
        desk.perform(CancelJob(id="nobody"))
    with pytest.raises(BackendError, match="no signal 'SIGNONE'"):
        desk.perform(CancelJob(id=task, signal="SIGNONE"))


def test_threads_cannot_be_stopped_and_that_is_said(desk: Desk, tmp_path: Path) -> None:
    desk.celery.start_worker("w1", "mail")
    task, pid = desk.start_hold("mail", str(tmp_path / "pid"))

    with pytest.raises(BackendError, match="w1@test: "):
        desk.perform(CancelJob(id=task, terminate=True))
    assert lives(pid)


# Retry


def test_a_retried_task_runs_with_its_own_arguments(desk: Desk) -> None:
    assert_retried_with_its_own_arguments(desk)


def test_what_failed_twice_can_be_retried_twice(desk: Desk) -> None:
    desk.start_worker("mail")
    task = failed(desk, 1)

    desk.perform(RetryJob(id=task))
    desk.until(lambda: len(desk.notes) == 2 and desk.state(task) is JobState.FAILED)
    desk.mend()
    desk.perform(RetryJob(id=task))

    desk.until(lambda: desk.state(task) is JobState.SUCCEEDED)
    assert len(desk.notes) == 3
    with pytest.raises(NoSuchTarget, match="has not failed"):
        desk.perform(RetryJob(id=task))


def test_two_who_retry_at_once_send_one_message(open_desk: Callable[..., Desk]) -> None:
    desk, other = open_desk(), open_desk()
    node = desk.start_worker("mail")
    tasks = [failed(desk, number) for number in range(10)]
    desk.celery.stop(node)
    outcomes: list[object] = []

    def press(who: Desk) -> None:
        for task in tasks:
            try:
                outcomes.append(who.perform(RetryJob(id=task)).changed)
            except NoSuchTarget as refusal:
                outcomes.append(str(refusal))

    pressing = [threading.Thread(target=press, args=(who,)) for who in (desk, other)]
    for thread in pressing:
        thread.start()
    for thread in pressing:
        thread.join()

    assert outcomes.count(1) == len(tasks)
    assert desk.depth("mail") == len(tasks)
    assert {row.id for row in desk.jobs(queue="mail").rows} == {*tasks}


def test_a_retry_that_was_cut_short_is_repeated_without_a_second_message(
    desk: Desk, admin: redis.Redis, redis_server
) -> None:
    node = desk.start_worker("mail")
    task = failed(desk)
    desk.celery.stop(node)
    with redis.Redis(port=redis_server.port, db=1) as results:
        before = results.get(f"celery-task-meta-{task}")
        desk.perform(RetryJob(id=task))
        assert json.loads(results.get(f"celery-task-meta-{task}"))["status"] == "RETRY"
        results.set(f"celery-task-meta-{task}", before)

        desk.perform(RetryJob(id=task))

    assert desk.depth("mail") == 1


def test_arguments_that_are_not_known_are_never_guessed(desk: Desk, redis_server) -> None:
    desk.start_worker("mail")
    task = failed(desk, 1)
    key = f"celery-task-meta-{task}"
    with redis.Redis(port=redis_server.port, db=1) as results:
        meta = json.loads(results.get(key))
        results.set(key, json.dumps({**meta, "args": "(1,)"}))
        with pytest.raises(NoSuchTarget, match="as a text only"):
            desk.perform(RetryJob(id=task))
        results.set(key, json.dumps({k: v for k, v in meta.items() if k not in {"args", "name"}}))
        with pytest.raises(NoSuchTarget, match="result_extended = True"):
            desk.perform(RetryJob(id=task))
        results.set(key, json.dumps({**meta, "queue": "elsewhere"}))
        with pytest.raises(NoSuchTarget, match="no queue 'elsewhere'"):
            desk.perform(RetryJob(id=task))
        results.set(key, b"\x80\x05}\x94.")
        with pytest.raises(NoSuchTarget, match="form that is not read"):
            desk.perform(RetryJob(id=task))
        assert [*results.scan_iter("*bgtop*")] == []
    assert len(desk.notes) == 1


# Applications of other settings


@pytest.mark.parametrize(
    "settings",
    [
        {"prefix": "app:", "results": None},
        {"sep": ":", "results": 0},
        {"priority_steps": [0, 5], "results": 1},
    ],
)
def test_every_verb_with_other_settings(
    open_desk: Callable[..., Desk], settings: dict, tmp_path: Path
) -> None:
    desk = open_desk(**settings)
    node = desk.start_worker("mail")
    task, pid = desk.start_hold("mail", str(tmp_path / "pid"))
    waiting = [desk.celery.send("mail", "note", desk.notes_path, n, priority=5) for n in range(4)]

    # On its way to the worker it is nowhere for a moment, and all workers are told.
    assert desk.perform(CancelJob(id=waiting[0])).changed in {1, None}
    assert desk.perform(CancelJob(id=task, terminate=True)).changed == 1
    desk.until(lambda: not lives(pid))
    desk.until(lambda: len(desk.notes) == 3)
    assert [args for args, _ in desk.notes] == [[1], [2], [3]]
    if settings["results"] is not None:
        again = failed(desk, "x")
        desk.mend()
        desk.perform(RetryJob(id=again))
        desk.until(lambda: desk.state(again) is JobState.SUCCEEDED)
    desk.celery.stop(node)
    left = [desk.celery.send("mail", "note", desk.notes_path, priority=5) for n in range(3)]
    assert desk.perform(DeleteJob(id=left[1])).changed == 1
    assert desk.perform(PurgeQueue(queue="mail")).changed == 2


# Rights

PAGE = Path(__file__).parents[3] / "docs/reference/redis-access.md"


def documented() -> list[str]:
    watch = re.search(r"^\| Celery \| `(.*)` \|$", PAGE.read_text(), re.MULTILINE)
    act = re.search(r"^\| Celery, to act \| `(.*)` \|$", PAGE.read_text(), re.MULTILINE)
    assert watch is not None
    assert act is not None
    return f"{watch[1]} {act[1]}".split()


@pytest.fixture
def as_user(
    open_desk: Callable[..., Desk], admin: redis.Redis, redis_server: RedisServer, tmp_path: Path
) -> Iterator[Callable[..., Desk]]:
    """bgtop logged in as a user with these rights."""
    desk = open_desk()
    with ExitStack() as stack:

        def as_user(*rights: str) -> Desk:
            admin.execute_command("ACL", "SETUSER", "op", "reset", "on", ">secret", *rights)
            place = f"redis://op:secret@127.0.0.1:{redis_server.port}"
            url = f"celery+{place}/0?result_backend={quote(place, safe='')}%2F1"
            return stack.enter_context(at_desk(url, desk.celery, tmp_path))

        yield as_user


def test_the_documented_user_may_act(as_user: Callable[..., Desk], admin: redis.Redis) -> None:
    desk = as_user(*documented())
    node = desk.start_worker("mail")
    task = failed(desk)
    desk.mend()

    desk.perform(RetryJob(id=task))
    desk.until(lambda: desk.state(task) is JobState.SUCCEEDED)
    desk.celery.stop(node)
    waiting = [desk.celery.send("mail", "add", 1, 2) for _ in range(4)]
    desk.perform(CancelJob(id=waiting[0]))
    desk.perform(DeleteJob(id=waiting[1]))
    desk.perform(DeleteJob(id=task))

    assert desk.perform(PurgeQueue(queue="mail")).changed == 2
    assert [entry["object"] for entry in admin.acl_log()] == []


def test_who_may_only_look_changes_nothing(
    as_user: Callable[..., Desk], admin: redis.Redis
) -> None:
    desk = as_user(*(right for right in documented() if right[1:] not in CHANGING))
    desk.start_worker("mail")
    task = failed(desk)
    desk.celery.put("other", 2)
    desk.until(lambda: desk.depth("other") == 2)
    waiting = desk.jobs(queue="other").rows[0].id
    actions = (
        *(RetryJob(id=task), DeleteJob(id=task), CancelJob(id=waiting), DeleteJob(id=waiting)),
        PurgeQueue(queue="other"),
    )
    before = {*admin.keys("*")}

    for action in actions:
        with pytest.raises(NotPermitted, match="does not let us") as refused:
            desk.perform(action)
        assert str(refused.value).isprintable()
        assert "secret" not in str(refused.value)

    assert desk.depth("other") == 2
    assert {*admin.keys("*")} == before
    assert desk.state(task) is JobState.FAILED


CHANGING = {"publish", "sadd", "ltrim", "lrem", "lpush", "set", "del", "eval"}


# What is not done


def test_what_celery_cannot_do_is_refused_in_words(desk: Desk) -> None:
    jobs = {Verb.PURGE, Verb.DELETE, Verb.CANCEL, Verb.RETRY}
    assert desk.backend.info.verbs == jobs | (WORKER_VERBS - {Verb.SUSPEND, Verb.WAKE})
    assert Capability.JOBS in desk.backend.info.capabilities
    desk.celery.put("mail")
    for action in (PauseQueue(queue="mail"), ResumeQueue(queue="mail"), RequeueFailed()):
        with pytest.raises(Unsupported, match="Celery"):
            desk.perform(action)


def test_nothing_of_bgtop_stays_in_the_broker(desk: Desk, admin: redis.Redis) -> None:
    desk.start_worker("mail")
    desk.celery.send("mail", "note", desk.notes_path)
    desk.until(lambda: desk.notes)
    before = {*admin.keys("*")}

    with pytest.raises(NoSuchTarget):
        desk.perform(CancelJob(id="nobody"))

    assert {*admin.keys("*")} - before == set()
    assert not admin.smembers("_kombu.binding.reply.celery.pidbox")
