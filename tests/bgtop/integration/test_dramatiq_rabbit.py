"""What bgtop says about real Dramatiq on a real RabbitMQ is what is really there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import amqp
import pytest
from dramatiq_on_rabbit import DramatiqOnRabbit
from rabbit_server import RabbitVhost

from bgtop.backends.dramatiq import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import QueueReading, WorkerState
from bgtop.testing import queue_in, settled, wait_until

WITHOUT = "management=off&queues=mail"
HOUR = 3_600_000


@contextmanager
def opened(rabbit: RabbitVhost, more: str = "") -> Iterator[Backend]:
    """As a user who may enter the vhost and do nothing in it."""
    rabbit.allow("mon", configure="^$", write="^$", read="^$")
    if more:
        rabbit.let_ask()
    more = more or "management=" + quote(rabbit.management, safe="")
    with closing(plugin.open(f"dramatiq+{rabbit.monitor_url}?{more}", Settings())) as backend:
        yield backend


def mail(backend: Backend) -> QueueReading | None:
    return queue_in(backend.poll(Interest()), "mail")


def test_delayed_messages_are_scheduled_also_in_the_memory_of_a_worker(
    rabbit, dramatiq_rabbit
) -> None:
    dramatiq_rabbit.put("mail", 2)
    dramatiq_rabbit.put("mail", 3, delay=HOUR)
    with opened(rabbit) as backend:
        queue = mail(backend)
        assert (queue.depth, queue.unacked, queue.scheduled, queue.dead) == (2, 0, 3, 0)

        dramatiq_rabbit.start_worker("mail")
        fetched = rabbit.queues
        wait_until(
            lambda: fetched()["mail.DQ"]["messages_unacknowledged"] == 3,
            seconds=20,
            why="the worker has fetched what is delayed",
        )
        wait_until(lambda: mail(backend).depth == 0, seconds=20, why="the others are done")
        assert mail(backend).scheduled == 3


def test_a_failed_message_is_dead_and_an_inferred_worker_rests(rabbit, dramatiq_rabbit) -> None:
    dramatiq_rabbit.put("mail", 2, actor="fail", max_retries=0)
    name = dramatiq_rabbit.start_worker("mail")
    with opened(rabbit) as backend:
        wait_until(lambda: mail(backend).dead == 2, seconds=30, every=0.1, why="two are dead")
        wait_until(
            lambda: (
                [(w.name, w.state) for w in backend.poll(Interest()).workers]
                == [("dramatiq (inferred)", WorkerState.IDLE)]
            ),
            seconds=20,
            every=0.1,
            why="somebody is there and idle",
        )
        assert mail(backend).consumers == 1
        dramatiq_rabbit.kill(name)
        wait_until(lambda: not backend.poll(Interest()).workers, seconds=20, why="nobody")


def test_a_running_message_is_unacked_and_its_worker_active(
    rabbit, dramatiq_rabbit, tmp_path: Path
) -> None:
    dramatiq_rabbit.put("mail", 1, actor="wait", args=(str(tmp_path / "end"),))
    dramatiq_rabbit.start_worker("mail")
    with opened(rabbit) as backend:
        wait_until(lambda: mail(backend).unacked == 1, seconds=20, why="it runs")
        (worker,) = backend.poll(Interest()).workers

        assert worker.state is WorkerState.ACTIVE
        assert (worker.processed, worker.last_heartbeat_at) == (None, None)


def test_while_the_management_api_is_away_nobody_is_called_idle(
    rabbit, dramatiq_rabbit, free_port, tmp_path: Path
) -> None:
    dramatiq_rabbit.put("mail", 1, actor="wait", args=(str(tmp_path / "end"),))
    dramatiq_rabbit.start_worker("mail")
    with opened(rabbit) as backend:
        wait_until(lambda: mail(backend).unacked == 1, seconds=20, why="it runs")
    away = f"management=http%3A%2F%2F127.0.0.1%3A{free_port}&queues=mail,mail.DQ,mail.XQ"
    with opened(rabbit, away) as backend:
        reading = settled(backend)

    assert queue_in(reading, "mail").unacked is None
    assert [worker.state for worker in reading.workers] == [WorkerState.UNKNOWN]


def test_without_management_a_count_that_would_be_too_small_is_not_told(
    rabbit, dramatiq_rabbit
) -> None:
    dramatiq_rabbit.put("mail", 2)
    dramatiq_rabbit.put("mail", 3, delay=HOUR)
    with opened(rabbit, WITHOUT) as backend:
        reading = settled(backend)
        queue = queue_in(reading, "mail")

    assert (queue.depth, queue.dead, queue.consumers) == (2, 0, 0)
    assert (queue.scheduled, queue.unacked, queue.oldest) == (None, None, None)
    assert reading.workers == ()
    assert len(reading.warnings) == 1


def test_queues_of_others_are_not_shown(rabbit, dramatiq_rabbit) -> None:
    dramatiq_rabbit.put("mail")
    address = f"127.0.0.1:{rabbit.node.port}"
    with (
        amqp.Connection(address, virtual_host=rabbit.name) as connection,
        opened(rabbit) as backend,
    ):
        channel = connection.channel()
        for name in ("celery", "celery_delayed_27", "lone.DQ"):
            channel.queue_declare(name, durable=True, auto_delete=False)

        assert [queue.name for queue in settled(backend).queues] == ["mail"]


@pytest.mark.parametrize("number", [20, 100])
def test_few_round_trips_whatever_the_number_of_queues(rabbit, number) -> None:
    """Where we may not ask for queues: to prove that the broker is there, and for consumers."""
    address = f"127.0.0.1:{rabbit.node.port}"
    dead = {"x-dead-letter-exchange": ""}
    with amqp.Connection(address, virtual_host=rabbit.name) as connection:
        channel = connection.channel()
        for n in range(number):
            for ending in ("", ".DQ", ".XQ"):
                arguments = {**dead, "x-dead-letter-routing-key": f"q{n}.XQ"}
                channel.queue_declare(
                    f"q{n}{ending}",
                    auto_delete=False,
                    nowait=True,
                    arguments={} if ending == ".XQ" else arguments,
                )
        channel.queue_declare("q0.XQ", passive=True)
    with opened(rabbit) as backend:
        settled(backend)
        reading = backend.poll(Interest())

    trips = 4 if rabbit.node.wants_rights else 2
    assert (reading.round_trips, len(reading.queues)) == (trips, number)


def test_a_producer_alone_makes_the_queues(rabbit, dramatiq_rabbit: DramatiqOnRabbit) -> None:
    dramatiq_rabbit.broker.declare_queue("mail", ensure=True)
    with opened(rabbit) as backend:
        queue = mail(backend)

    assert (queue.depth, queue.scheduled, queue.dead, queue.consumers) == (0, 0, 0, 0)
