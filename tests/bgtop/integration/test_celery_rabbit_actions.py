"""What bgtop does to real Celery on a real RabbitMQ has its effect; what cannot be is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from celery_desk import Desk, assert_retried_with_its_own_arguments, at_desk, failed, lives
from rabbit_server import PASSWORD, RabbitVhost
from redis_server import RedisServer

from bgtop.actions import (
    WORKER_VERBS,
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RetryJob,
    Verb,
)
from bgtop.contracts import BackendError, NoSuchTarget, NotPermitted, Unsupported
from bgtop.model import ALL_STATES, Capability, JobState
from bgtop.worker_actions import AddConsumer


@pytest.fixture
def open_desk(
    rabbit: RabbitVhost, redis_server: RedisServer, make_celery, tmp_path: Path
) -> Iterator[Callable[..., Desk]]:
    with ExitStack() as stack:

        def open_desk(*, results: bool = True, management: bool = True, url: str = "") -> Desk:
            celery = make_celery(rabbit.url, confirm_publish=True)
            celery.results = redis_server.url
            place = quote(rabbit.management, safe="") if management else "off&queues=mail"
            more = f"&result_backend={quote(redis_server.url, safe='')}" if results else ""
            address = f"celery+{url or rabbit.url}?management={place}{more}"
            return stack.enter_context(at_desk(address, celery, tmp_path))

        yield open_desk


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


def test_a_worker_that_nothing_lists_is_told_at_once(open_desk: Callable[..., Desk]) -> None:
    """Without the management API, its heartbeats or its queue: its mailbox proves that it is."""
    desk = open_desk()
    node = desk.celery.start_worker("w1", "other")
    desk.until(lambda: [one.name for one in desk.look().workers] == [node], "it is there")

    stranger = open_desk(management=False)
    for name in ("nobody@test", "x" * 300, "\ud800@h"):
        with pytest.raises(NoSuchTarget, match="there is no worker"):
            stranger.perform(AddConsumer(worker=name, queue="more"))
    told = stranger.perform(AddConsumer(worker=node, queue="more"))
    assert (told.changed, told.words) == (1, "add consumer more")


def test_a_purged_queue_is_empty_and_others_are_not(desk: Desk, rabbit: RabbitVhost) -> None:
    desk.celery.put("mail", 7)
    desk.celery.put("other", 2)

    assert desk.perform(PurgeQueue(queue="mail")).changed == 7

    assert desk.depth("mail") == 0
    assert desk.depth("other") == 2
    with pytest.raises(NoSuchTarget, match="no queue 'nail'"):
        desk.perform(PurgeQueue(queue="nail"))
    with pytest.raises(NoSuchTarget, match="has such a name"):
        desk.perform(PurgeQueue(queue="x" * 300))
    assert desk.look().warnings == ()


@pytest.mark.parametrize("management", [True, False])
def test_cancelled_tasks_do_not_run_and_running_ones_are_stopped(
    open_desk: Callable[..., Desk], management: bool, tmp_path: Path
) -> None:
    desk = open_desk(management=management)
    desk.start_worker("mail")
    running, pid = desk.start_hold("mail", str(tmp_path / "pid"))
    sent = [desk.celery.send("mail", "note", desk.notes_path, number) for number in range(3)]

    outcome = desk.perform(CancelJob(id=sent[1]))
    with pytest.raises(NoSuchTarget, match="only terminate stops it"):
        desk.perform(CancelJob(id=running))
    assert lives(pid)
    stopped = desk.perform(CancelJob(id=running, terminate=True, signal="SIGKILL"))

    assert "discarded by 1 worker;" in outcome.words
    assert stopped.changed == 1
    desk.until(lambda: not lives(pid), "its process has ended")
    desk.until(lambda: len(desk.notes) == 2)
    assert [args for args, _ in desk.notes] == [[0], [2]]
    desk.until(lambda: desk.state(running) is JobState.CANCELLED)


def test_with_nobody_listening_nothing_is_cancelled(desk: Desk) -> None:
    task = desk.celery.send("mail", "note", desk.notes_path)

    with pytest.raises(BackendError, match="no worker listens"):
        desk.perform(CancelJob(id=task))


def test_a_retried_task_runs_with_its_own_arguments(desk: Desk) -> None:
    task = assert_retried_with_its_own_arguments(desk)

    with pytest.raises(NoSuchTarget, match="has not failed"):
        desk.perform(RetryJob(id=task))
    assert desk.perform(DeleteJob(id=task)).changed == 1
    assert desk.job(task) is None


def test_a_retry_needs_its_queue(desk: Desk, rabbit: RabbitVhost) -> None:
    node = desk.start_worker("mail")
    task = failed(desk)
    desk.celery.stop(node)
    rabbit.node.request("DELETE", f"/queues/{rabbit.quoted}/mail")

    with pytest.raises(NoSuchTarget, match="no queue 'mail'"):
        desk.perform(RetryJob(id=task))

    assert desk.state(task) is JobState.FAILED


def test_single_messages_are_left_alone(desk: Desk) -> None:
    task = desk.celery.send("mail", "note", desk.notes_path)

    jobs = desk.jobs(queue="mail")

    assert (jobs.rows, jobs.unreadable) == ((), ALL_STATES)
    with pytest.raises(NoSuchTarget, match="cancel it instead"):
        desk.perform(DeleteJob(id=task))
    assert desk.depth("mail") == 1


def test_without_results_less_can_be_done(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(results=False)
    desk.celery.put("mail")

    assert desk.look().jobs is None
    steered = WORKER_VERBS - {Verb.ABORT, Verb.SUSPEND, Verb.WAKE}
    assert desk.backend.info.verbs == {Verb.CANCEL, Verb.PURGE} | steered
    assert Capability.JOBS not in desk.backend.info.capabilities
    for action in (RetryJob(id="x"), DeleteJob(id="x"), PauseQueue(queue="mail")):
        with pytest.raises(Unsupported):
            desk.perform(action)


def test_who_may_only_look_changes_nothing(
    open_desk: Callable[..., Desk], rabbit: RabbitVhost
) -> None:
    desk = open_desk(url=rabbit.monitor_url)
    desk.celery.put("mail", 2)
    worker = desk.celery.start_worker("w1", "other")
    desk.until(lambda: any(w.name == worker for w in desk.look().workers))
    logins = desk.look().round_trips

    for action in (PurgeQueue(queue="mail"), CancelJob(id="x")):
        with pytest.raises(NotPermitted, match="does not let user 'mon' do that") as refused:
            desk.perform(action)
        assert PASSWORD not in str(refused.value)

    assert desk.depth("mail") == 2
    assert desk.look().round_trips <= logins


def test_the_documented_user_may_act(open_desk: Callable[..., Desk], rabbit: RabbitVhost) -> None:
    page = Path(__file__).parents[3] / "docs/how-to/watch-celery-on-rabbitmq.md"
    lines = page.read_text().splitlines()
    line = next(one for one in lines if "set_permissions" in one and "amq" in one)
    configure, write, read = (part for part in line.split("'")[1::2])
    rabbit.allow("mon", configure, write, read)
    desk = open_desk(url=rabbit.monitor_url)
    desk.start_worker("mail")
    task = failed(desk, 1)
    desk.mend()

    desk.perform(RetryJob(id=task))
    desk.until(lambda: desk.state(task) is JobState.SUCCEEDED)
    with pytest.raises(NoSuchTarget, match="has ended"):
        desk.perform(CancelJob(id=task))
    desk.celery.put("other", 3)

    assert desk.perform(PurgeQueue(queue="other")).changed == 3


def test_nothing_of_bgtop_stays_in_the_broker(desk: Desk, rabbit: RabbitVhost) -> None:
    desk.start_worker("mail")
    before = rabbit.contents()

    desk.perform(CancelJob(id="later"))

    assert rabbit.contents() == before


def test_a_broker_that_goes_away_in_between(desk: Desk, rabbit: RabbitVhost) -> None:
    desk.celery.put("mail", 2)
    desk.look()
    for connection in rabbit.node.get("/connections"):
        if connection["client_properties"].get("product") == "bgtop":
            rabbit.node.request("DELETE", f"/connections/{quote(connection['name'], safe='')}")

    assert desk.perform(PurgeQueue(queue="mail")).changed == 2
