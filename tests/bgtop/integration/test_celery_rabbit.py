"""What bgtop says about real Celery on a real RabbitMQ is what is really there."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from urllib.parse import quote

import amqp
import pytest
from celery_cluster import CeleryCluster
from celery_tasks import quorum
from door import Door
from rabbit_server import PASSWORD, RabbitVhost

from bgtop.backends import rabbit_url
from bgtop.backends.celery import plugin
from bgtop.backends.celery.mailboxes import SECONDS_UNTIL_SETTLED
from bgtop.backends.celery.roster import PATIENCE
from bgtop.contracts import (
    Backend,
    BackendError,
    Interest,
    NotPermitted,
    Settings,
    Unreachable,
    WrongSource,
)
from bgtop.model import Capability, Reading, WorkerReading, WorkerState
from bgtop.testing import queue_in, settled, wait_until


@contextmanager
def opened(rabbit: RabbitVhost, more: str = "", **settings: float) -> Iterator[Backend]:
    """As the recommended user; ``more`` instead of the management API."""
    if more:
        rabbit.let_ask()
    more = more or "management=" + quote(rabbit.management, safe="")
    with closing(
        plugin.open(f"celery+{rabbit.monitor_url}?{more}", Settings(**settings))
    ) as backend:
        yield backend


@contextmanager
def application(rabbit: RabbitVhost) -> Iterator[amqp.Channel]:
    address = f"127.0.0.1:{rabbit.node.port}"
    with amqp.Connection(address, virtual_host=rabbit.name) as connection:
        channel = connection.channel()
        channel.confirm_select()
        yield channel


@pytest.fixture
def celery(rabbit, make_celery) -> CeleryCluster:
    return make_celery(rabbit.url, confirm_publish=True)


def worker_in(reading: Reading, name: str) -> WorkerReading | None:
    return next((worker for worker in reading.workers if worker.name == name), None)


def worker_of(backend: Backend, name: str) -> WorkerReading | None:
    return worker_in(backend.poll(Interest()), name)


def heard(backend: Backend, name: str) -> WorkerReading | None:
    worker = worker_of(backend, name)
    return worker if worker is not None and worker.last_heartbeat_at is not None else None


def state_of(backend: Backend, name: str) -> WorkerState | None:
    worker = worker_of(backend, name)
    return None if worker is None else worker.state


# Workers

WITHOUT = "management=off&queues=mail"


@pytest.mark.parametrize("more", ["", WITHOUT])
def test_what_a_worker_says_is_shown(rabbit, celery, more) -> None:
    celery.put("mail", 3)
    node = celery.start_worker("w1", "mail", "push")
    with opened(rabbit, more) as backend:
        wait_until(
            lambda: (worker := heard(backend, node)) and worker.processed == 3,
            seconds=30,
            why="three tasks",
        )
        served = None if more else ("mail", "push")
        wait_until(lambda: worker_of(backend, node).queues == served, seconds=30, why="its queues")
        worker = worker_of(backend, node)
        queue = queue_in(backend.poll(Interest()), "mail")

    assert (worker.host, worker.pid, worker.running) == ("test", celery.pid(node), 0)
    assert worker.version.startswith("celery ")
    assert (queue.depth, queue.consumers) == (0, 1)


@pytest.mark.parametrize(("more", "seconds"), [("", 4.0), (WITHOUT, 12.0)])
def test_a_killed_worker_is_dead_long_before_dead_after(rabbit, celery, more, seconds) -> None:
    celery.put("mail")
    node = celery.start_worker("w1", "mail")
    with opened(rabbit, more, dead_after=1000) as backend:
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        celery.kill(node)
        wait_until(
            lambda: state_of(backend, node) is WorkerState.DEAD, seconds=seconds, why="it is dead"
        )
        # It comes back under its name.
        celery.start_worker("w1", "mail")
        wait_until(
            lambda: (worker := worker_of(backend, node)) and worker.state is None,
            seconds=30,
            every=0.2,
            why="it lives",
        )


@pytest.mark.parametrize("more", ["", WITHOUT])
def test_a_busy_solo_worker_is_not_dead(rabbit, celery, more) -> None:
    """It sends no heartbeat while its task runs; its mailbox proves that it is there."""
    node = celery.start_worker("w1", "mail", options=("-P", "solo"))
    with opened(rabbit, more, dead_after=6) as backend:
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        celery.put("mail", task="wait")
        last = worker_of(backend, node).last_heartbeat_at
        wait_until(
            lambda: state_of(backend, node) is WorkerState.UNKNOWN,
            seconds=20,
            every=0.2,
            why="it is silent and connected",
        )

        assert worker_of(backend, node).last_heartbeat_at >= last
        celery.kill(node)
        wait_until(
            lambda: state_of(backend, node) is WorkerState.DEAD,
            seconds=20,
            every=0.2,
            why="it is dead",
        )


@pytest.mark.parametrize("more", ["", WITHOUT])
def test_a_worker_without_remote_control_is_judged_by_its_heartbeats(rabbit, celery, more) -> None:
    """It has no mailbox, so that this is missing proves nothing."""
    node = celery.start_worker("w1", "mail", options=("-P", "solo"), TEST_NO_REMOTE_CONTROL="1")
    with opened(rabbit, more, dead_after=6) as backend:
        first = wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        wait_until(
            lambda: (
                worker_of(backend, node).last_heartbeat_at - first.last_heartbeat_at
                > timedelta(seconds=SECONDS_UNTIL_SETTLED + 4)
            ),
            seconds=40,
            every=0.2,
            why="it was asked for, and spoke again",
        )
        celery.put("mail", task="wait")
        silent_since = wait_until(lambda: silence(backend, node, 2 * PATIENCE), seconds=30)

        assert state_of(backend, node) is None
        assert worker_of(backend, node).last_heartbeat_at == silent_since
    assert not any("pidbox" in name and node in name for name in rabbit.queues())


def silence(backend: Backend, node: str, seconds: float) -> datetime | None:
    """Since when a worker is silent, once it was for so long."""
    reading = backend.poll(Interest())
    last = worker_in(reading, node).last_heartbeat_at
    return last if reading.taken_at - last > timedelta(seconds=seconds) else None


def test_cpu_and_memory_of_a_worker_on_this_machine(rabbit, celery) -> None:
    prefork = ("-P", "prefork", "-c", "2")
    node = celery.start_worker("w1", "mail", host=os.uname().nodename, pool=prefork)
    celery.put("mail", task="burn")
    with opened(rabbit) as backend:
        worker = wait_until(
            lambda: (one := heard(backend, node)) and (one.cpu_percent or 0) > 10 and one,
            seconds=40,
            every=0.2,
            why="its child is busy",
        )

    # The parent alone would neither burn nor be so large.
    assert worker.rss_bytes > 2 * 20 * 1024 * 1024


def test_a_worker_that_ends_in_good_order_is_gone(rabbit, celery) -> None:
    node = celery.start_worker("w1", "mail")
    with opened(rabbit) as backend:
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        celery.stop(node)
        wait_until(lambda: worker_of(backend, node) is None, seconds=10, why="it is gone")


def test_the_first_complete_reading_has_every_worker(rabbit, celery) -> None:
    nodes = [celery.start_worker(name, "mail") for name in ("w1", "w2")]
    with opened(rabbit) as backend:
        wait_until(lambda: all(heard(backend, node) for node in nodes), seconds=30, why="both")
    for more in ("", WITHOUT):
        with opened(rabbit, more) as backend:
            reading = settled(backend)

        assert [worker.name for worker in reading.workers] == nodes
        assert [worker.processed for worker in reading.workers] == [0, 0]


# Queues


def test_what_a_worker_fetched_is_unacked(rabbit, celery) -> None:
    celery.put("mail", 5, task="wait")
    node = celery.start_worker("w1", "mail")
    with opened(rabbit) as backend:
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")

        def counts() -> tuple[int | None, int | None] | None:
            queue = queue_in(backend.poll(Interest()), "mail")
            return None if queue is None else (queue.depth, queue.unacked)

        # One runs and is acknowledged late; prefetch allows no other.
        wait_until(lambda: counts() == (4, 1), why="4 wait and 1 runs")


@pytest.mark.parametrize("more", ["", "management=off&queues=quick"])
def test_quorum_queues_and_tasks_the_broker_delays(rabbit, celery, more) -> None:
    celery.app.conf.update(quorum("quick"))
    node = celery.start_worker("w1", "quick", TEST_QUORUM="quick")
    with opened(rabbit, more) as backend:
        wait_until(lambda: heard(backend, node), seconds=40, why="a heartbeat")
        celery.stop(node)
        for _ in range(3):
            celery.app.send_task("add", args=(1, 2), countdown=3600)
        celery.put("quick", 2)

        def counts() -> tuple[int | None, int | None] | None:
            reading = backend.poll(Interest())
            queue = queue_in(reading, "quick")
            return queue and (queue.depth, reading.totals.get("scheduled"))

        wait_until(lambda: counts() == (2, 3), seconds=20, every=0.2, why="2 wait and 3 later")
        reading = backend.poll(Interest())
        # The many queues of the delays are Celery's own affair.
        assert [queue.name for queue in reading.queues] == ["quick"]
    with opened(rabbit, more) as backend:
        # The first sum that is told is the right one: who finds one of the queues looks for all.
        assert settled(backend).totals == {"scheduled": 3}
        if not more:
            assert Capability.SCHEDULED in backend.info.capabilities
            names = {queue.name for queue in backend.poll(Interest(internal=True)).queues}
            assert {f"celery_delayed_{level}" for level in range(28)} < names


def test_internal_queues_are_shown_only_when_wanted(rabbit, celery) -> None:
    celery.put("mail")
    node = celery.start_worker("w1", "mail")
    with opened(rabbit) as backend, application(rabbit) as channel:
        channel.queue_declare("c0ffee-reply", exclusive=True)
        # As the result backend rpc:// declares it; a result lies in it.
        results = "f579883f-e361-3a39-afdf-fabb537a1227"
        channel.queue_declare(results, auto_delete=True, arguments={"x-expires": 3_600_000})
        channel.basic_publish(amqp.Message("{}"), routing_key=results)
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        plain = backend.poll(Interest())
        full = backend.poll(Interest(internal=True))

    assert [queue.name for queue in plain.queues] == ["mail"]
    inner = [queue.name for queue in full.queues if queue.internal]
    assert f"{node}.celery.pidbox" in inner
    assert {"c0ffee-reply", results} <= {*inner}
    assert any(name.startswith("celeryev.") for name in inner)
    assert [queue.name for queue in full.queues if not queue.internal] == ["mail"]


def test_queues_of_dramatiq_are_not_celerys(rabbit, celery) -> None:
    celery.put("mail")
    with opened(rabbit) as backend, application(rabbit) as channel:
        for name in ("video", "video.DQ", "video.XQ"):
            dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "video.XQ"}
            arguments = {} if name == "video.XQ" else dead
            channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)

        assert [queue.name for queue in settled(backend).queues] == ["mail"]


def test_a_queue_that_is_deleted_leaves_at_once(rabbit, celery) -> None:
    for name in ("a", "b", "c"):
        celery.put(name)
    for more in ("", "management=off&queues=a,b,c,d"):
        with opened(rabbit, more) as backend, application(rabbit) as channel:
            celery.put("b")
            before = settled(backend)
            channel.queue_delete("b")
            after = backend.poll(Interest())

        assert [queue.name for queue in before.queues] == ["a", "b", "c"]
        assert [queue.name for queue in after.queues] == ["a", "c"]


def test_a_name_that_is_no_text_costs_no_refusal(rabbit, celery) -> None:
    celery.put("mail")
    with opened(rabbit) as backend, application(rabbit) as channel:
        # py-amqp sends a lone surrogate as three bytes that are no UTF-8.
        channel.queue_declare("bad\udcff", durable=True, auto_delete=False)
        channel.basic_publish_confirm(amqp.Message("x"), routing_key="bad\udcff")
        settled(backend)
        reading = backend.poll(Interest())
        (row, _) = reading.queues

    assert (row.depth, row.unacked, row.consumers) == (1, 0, None)
    assert row.name.startswith("bad")
    assert reading.warnings == (
        f"the name of the queue {row.name!r} is no UTF-8, so its consumers are unknown",
    )
    assert reading.round_trips == 2


# What is missing, and who may see what


def test_without_management_it_is_said_what_is_missing(rabbit, celery) -> None:
    celery.put("mail", 2)
    celery.put("push")
    with opened(rabbit, "management=off&queues=mail,none") as backend:
        reading = settled(backend)

    assert [(q.name, q.depth, q.unacked) for q in reading.queues] == [("mail", 2, None)]
    missing, none = reading.warnings
    assert missing.startswith(
        "without the management API bgtop knows only the queues that ?queues="
    )
    assert missing.endswith("and not what is unacknowledged (it is switched off)")
    assert none == "there is no queue 'none'"


def test_a_management_api_that_is_away_is_said_and_found_again(rabbit, celery, free_port) -> None:
    celery.put("mail", 2)
    place = f"http://127.0.0.1:{free_port}"
    with opened(rabbit, f"management={place}&queues=mail") as backend:
        reading = settled(backend)

    assert [(q.name, q.depth) for q in reading.queues] == [("mail", 2)]
    assert reading.warnings == (
        f"what is unacknowledged is unknown: connection refused by {place}",
    )


def test_what_amqp_tells_goes_on_while_the_management_api_is_away(
    rabbit, celery, free_port
) -> None:
    celery.put("push", 2)
    node = celery.start_worker("w1", "mail")
    door = Door(free_port, rabbit.node.management_port)
    door.open()
    with opened(rabbit, f"management=http://127.0.0.1:{free_port}") as backend:
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        assert queue_in(backend.poll(Interest()), "push").unacked == 0

        door.shut()
        reading = backend.poll(Interest())
        celery.put("push", 1)
        assert [(q.name, q.unacked) for q in reading.queues] == [("mail", None), ("push", None)]
        assert queue_in(backend.poll(Interest()), "push").depth == 3
        assert len(reading.warnings) == 1
        # Nothing proves that it is dead.
        assert worker_of(backend, node).state is None

        door.open()
        wait_until(
            lambda: queue_in(backend.poll(Interest()), "push").unacked == 0,
            seconds=20,
            every=0.1,
            why="the API is back",
        )
        assert backend.poll(Interest()).warnings == ()
        assert worker_of(backend, node).state is None
    door.shut()


def test_the_usual_place_of_the_api_is_tried_once(rabbit, celery, free_port, monkeypatch) -> None:
    celery.put("celery")
    monkeypatch.setitem(rabbit_url.MANAGEMENT_PORTS, "http", rabbit.node.management_port)
    with opened(rabbit, "queues=celery") as backend:
        assert queue_in(settled(backend), "celery").unacked == 0
        assert Capability.UNACKED in backend.info.capabilities

    monkeypatch.setitem(rabbit_url.MANAGEMENT_PORTS, "http", free_port)
    with opened(rabbit, "queues=celery") as backend:
        reading = settled(backend)
        assert (queue_in(reading, "celery").depth, queue_in(reading, "celery").unacked) == (1, None)
        assert f"connection refused by http://127.0.0.1:{free_port}" in reading.warnings[0]
        assert Capability.UNACKED not in backend.info.capabilities
        # Who comes later is not asked.
        door = Door(free_port, rabbit.node.management_port)
        door.open()
        assert queue_in(backend.poll(Interest()), "celery").unacked is None
        door.shut()


def test_a_user_who_may_only_enter_the_vhost(rabbit, celery) -> None:
    rabbit.allow("mon", configure="^$", write="^$", read="^$")
    celery.put("mail", 2)
    node = celery.start_worker("w1", "push")
    with opened(rabbit) as backend:
        wait_until(lambda: state_of(backend, node), seconds=30, every=0.2, why="its mailbox")
        # The exchange may come later than the mailbox, and is then tried again.
        reading = wait_until(
            lambda: (one := backend.poll(Interest())).warnings and one, seconds=30, every=0.2
        )
        queue = queue_in(reading, "mail")

    assert (queue.depth, queue.unacked, queue.consumers) == (2, 0, 0)
    assert state_of_in(reading, node) is WorkerState.UNKNOWN
    assert reading.warnings == ("no heartbeats: the user 'mon' may not listen to events",)


def state_of_in(reading: Reading, name: str) -> WorkerState | None:
    worker = worker_in(reading, name)
    return None if worker is None else worker.state


def test_a_user_without_a_tag_is_told_so(rabbit, celery) -> None:
    celery.put("mail", 2)
    rabbit.node.request("PUT", "/users/mon", {"password": PASSWORD, "tags": ""})
    place = rabbit.management
    with opened(rabbit, f"management={place}&queues=mail") as backend:
        reading = settled(backend)

    assert queue_in(reading, "mail").depth == 2
    refusal = f"{place} refused user 'mon', or it lacks the tag 'monitoring'"
    assert reading.warnings == (f"what is unacknowledged is unknown: {refusal}",)


def test_a_user_who_may_not_see_the_nodes_is_told_so(rabbit, celery) -> None:
    """The tag ``management`` opens the API, and shows only what is the user's own."""
    celery.put("mail", 2)
    rabbit.node.request("PUT", "/users/mon", {"password": PASSWORD, "tags": "management"})
    with opened(rabbit) as backend:
        reading = settled(backend)

    assert (queue_in(reading, "mail").depth, queue_in(reading, "mail").unacked) == (2, 0)
    (warning,) = reading.warnings
    assert warning.startswith("alarms of the nodes are unknown: ")
    assert "lacks the tag 'monitoring'" in warning


def test_a_wrong_password_and_a_wrong_vhost_fail_the_poll(rabbit) -> None:
    place = f"127.0.0.1:{rabbit.node.port}"
    for login, vhost, kind in (
        ("mon:wrong", rabbit.quoted, NotPermitted),
        (f"mon:{PASSWORD}", "none", WrongSource),
    ):
        url = f"celery+amqp://{login}@{place}/{vhost}?management={rabbit.management}"
        with (
            closing(plugin.open(url, Settings())) as backend,
            pytest.raises(BackendError) as failed,
        ):
            backend.poll(Interest())

        assert type(failed.value) is kind


def test_a_broker_that_hangs_is_given_up_and_found_again(rabbit, celery) -> None:
    celery.put("mail", 2)
    with opened(rabbit, connect_timeout=0.5, read_timeout=0.5) as backend:
        settled(backend)
        rabbit.node.send_signal(signal.SIGSTOP)
        try:
            for _ in range(2):
                with pytest.raises(Unreachable, match=r"no (AMQP )?answer from "):
                    backend.poll(Interest())
        finally:
            rabbit.node.send_signal(signal.SIGCONT)

        def unacked() -> int | None:
            with suppress(BackendError):
                queue = queue_in(backend.poll(Interest()), "mail")
                return queue and queue.unacked
            return None

        wait_until(lambda: unacked() == 0, seconds=30, every=0.1, why="it answers again")


# Harm and hostility


def test_our_queue_is_limited_and_ends_with_us(rabbit, celery) -> None:
    node = celery.start_worker("w1", "mail")

    def ours() -> list[dict]:
        return [queue for name, queue in rabbit.queues().items() if name.startswith("bgtop.")]

    with opened(rabbit) as backend:
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        (own,) = ours()
    wait_until(lambda: not ours(), why="our queue is gone")

    assert (own["exclusive"], own["auto_delete"], own["durable"]) == (True, True, False)
    # RabbitMQ 4 adds the type it took.
    assert {key: own["arguments"][key] for key in own["arguments"] if key != "x-queue-type"} == {
        "x-expires": 60_000,
        "x-message-ttl": 60_000,
        "x-max-length": 10_000,
        "x-max-length-bytes": 16 * 1024 * 1024,
    }


def test_an_exchange_nobody_declared_is_not_made(rabbit) -> None:
    with opened(rabbit) as backend:
        settled(backend)

        assert "celeryev" not in {e["name"] for e in rabbit.contents()["exchanges"]}
        assert rabbit.queues() == {}


def test_floods_and_rubbish_among_the_events(rabbit, celery) -> None:
    # Gossip would read the rubbish too, and end the worker.
    node = celery.start_worker("w1", "mail", options=("--without-gossip",))
    with opened(rabbit) as backend, application(rabbit) as channel:
        wait_until(lambda: heard(backend, node), seconds=30, why="a heartbeat")
        bodies = (b"", b"\xff", b"[" * 5000, b'{"type": 1}', b'"x"', b"x" * 1_000_000, b"[null]")
        for body in bodies * 20:
            message = amqp.Message(body, content_type="application/json")
            channel.basic_publish(message, "celeryev", "worker.heartbeat")
        backend.poll(Interest())
        reading = backend.poll(Interest())

    assert [worker.name for worker in reading.workers] == [node]


def test_workers_with_names_that_no_mailbox_can_have(rabbit, celery) -> None:
    """Anybody who may publish an event may say so; they are asked for once they are silent."""
    names = ("x" * 500, "\ud800@h", "new\nline@h", "a.reply")
    with opened(rabbit, WITHOUT) as backend, application(rabbit) as channel:
        channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        channel.queue_declare("mail", durable=True, auto_delete=False)
        backend.poll(Interest())
        for name in names:
            event = {"type": "worker-heartbeat", "hostname": name, "timestamp": 0}
            body = json.dumps(event).encode()
            channel.basic_publish_confirm(amqp.Message(body), "celeryev", "worker.heartbeat")
        wait_until(lambda: len(backend.poll(Interest()).workers) == len(names), why="they appear")
        wait_until(
            lambda: state_of(backend, names[0]) is WorkerState.DEAD,
            seconds=20,
            every=0.1,
            why="nobody vouches for it",
        )


@pytest.mark.parametrize(
    ("alarm", "change", "too_much", "usual", "words"),
    [
        (
            "mem_alarm",
            ("vm_memory_monitor", "set_vm_memory_high_watermark"),
            *("0.0001", '{absolute, "512MB"}', "memory"),
        ),
        (
            "disk_free_alarm",
            ("rabbit_disk_monitor", "set_disk_free_limit"),
            *('"900000GB"', '"10MB"', "disk space"),
        ),
    ],
)
def test_the_node_that_is_short_of_something_is_named(
    rabbit, celery, alarm, change, too_much, usual, words
) -> None:
    celery.put("mail")

    def rings() -> bool | None:
        # A node that has just begun tells nothing yet.
        return rabbit.node.get("/nodes")[0].get(alarm)

    wait_until(lambda: rings() is False, seconds=30, why="it is well")
    rabbit.node.call(*change, too_much)
    try:
        wait_until(rings, seconds=30, why="the alarm")
        with opened(rabbit) as backend:
            warnings = settled(backend).warnings
    finally:
        rabbit.node.call(*change, usual)
        wait_until(lambda: rings() is False, seconds=30, why="its end")

    assert [w for w in warnings if w.endswith(f"is short of {words}: publishers are blocked")]
