"""What lies in ``unacked`` of a real broker: tasks not due yet, messages that come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import redis

from bgtop.backends.celery import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.testing import queue_in, settled


@contextmanager
def opened(url: str) -> Iterator[Backend]:
    with closing(plugin.open(f"celery+{url}", Settings())) as backend:
        yield backend


@pytest.mark.parametrize("protocol", [1, 2])
def test_tasks_a_worker_keeps_until_they_are_due_are_scheduled(
    celery, redis_server, wait_until, protocol
) -> None:
    celery.app.conf.task_protocol = protocol
    node = celery.start_worker("w1", "mail")
    celery.put("mail", 3, countdown=600)
    celery.put("mail", 1, task="wait")
    with opened(redis_server.url) as backend:

        def numbers() -> tuple[int | None, ...] | None:
            mail = queue_in(settled(backend), "mail")
            return mail and (mail.depth, mail.unacked, mail.scheduled)

        # The one that runs acknowledges late, so it is unacknowledged and yet not scheduled.
        wait_until(lambda: numbers() == (0, 4, 3), seconds=20, every=0.1)
    celery.kill(node)


def test_a_task_that_became_due_is_scheduled_no_longer(celery, redis_server, wait_until) -> None:
    celery.put("mail", 2, countdown=1.0)
    with opened(redis_server.url) as backend, celery.holding("mail", 2):
        wait_until(lambda: queue_in(settled(backend), "mail").scheduled == 0)
        assert queue_in(settled(backend), "mail").unacked == 2


def test_where_deliveries_are_not_told_apart_scheduled_is_unknown(celery, redis_server) -> None:
    celery.put("mail")
    with redis.Redis(port=redis_server.port) as client, opened(redis_server.url) as backend:
        tags = {f"tag{number}": time.time() for number in range(1500)}
        client.zadd("unacked_index", tags)
        client.hset("unacked", mapping=dict.fromkeys(tags, '[{}, "", "mail"]'))

        assert queue_in(settled(backend), "mail").scheduled is None


def test_a_message_about_to_come_back_is_told(celery, make_celery, redis_server) -> None:
    other = make_celery(redis_server.url, prefix="shop:")
    celery.put("mail")
    other.put("mail")
    with (
        redis.Redis(port=redis_server.port) as client,
        opened(f"{redis_server.url}?visibility_timeout=1000") as backend,
        celery.holding("mail", 1),
        other.holding("mail", 1),
    ):
        assert settled(backend).warnings == ()
        (tag,) = client.zrange("unacked_index", 0, 0)
        client.zadd("unacked_index", {tag: time.time() - 950})
        soon = backend.poll(Interest()).warnings
        client.zadd("unacked_index", {tag: time.time()})
        (tag,) = client.zrange("shop:unacked_index", 0, 0)
        client.zadd("shop:unacked_index", {tag: time.time() - 20_000})
        late = backend.poll(Interest()).warnings

    held, again = "has been unacknowledged for", "it is delivered again, and its task may run twice"
    limit = "the visibility timeout of 17 min"
    assert soon == (f"a message {held} 16 min: after {limit} {again}",)
    shop = "a message of the application 'shop:'"
    assert late == (f"{shop} {held} 6 h, longer than {limit}: {again}",)
