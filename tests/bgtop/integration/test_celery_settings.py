"""Applications that are not set up as Celery's defaults say, each with a real worker."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from urllib.parse import quote

import pytest
import redis

from bgtop.backends.celery import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import Capability
from bgtop.testing import queue_in, settled

POLITE = 0.1


def opened(url: str, **options: str) -> closing:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    return closing(plugin.open(f"celery+{url}?{query}", Settings()))


def is_heard(backend: Backend, node: str) -> bool:
    workers = backend.poll(Interest()).workers
    return any(worker.last_heartbeat_at and worker.name == node for worker in workers)


@pytest.mark.parametrize(
    ("setting", "option"), [(False, "false"), ("[shop]/{db}:", "[shop]/{db}:"), (True, "true")]
)
@pytest.mark.parametrize("prefix", ["", "my*app:"])
def test_heartbeats_are_heard_with_any_fanout_prefix(
    make_celery, redis_server, wait_until, setting, option, prefix
) -> None:
    app = make_celery(redis_server.url, prefix=prefix, fanout_prefix=setting)
    node = app.start_worker("w1", "mail")
    with opened(redis_server.url, fanout_prefix=option) as backend:
        wait_until(lambda: is_heard(backend, node), seconds=20, every=POLITE)
    app.kill(node)


def test_everything_custom_at_once(make_celery, redis_server, wait_until) -> None:
    """Steps, separator, prefix, protocol 1; what waits, what is held, what is not due."""
    app = make_celery(
        redis_server.url,
        prefix="shop:",
        sep="::",
        priority_steps=list(range(6)),
        fanout_prefix=True,
    )
    app.app.conf.task_protocol = 1
    app.put("mail", 2, priority=5)
    app.put("mail", 1, priority=1)
    node = app.start_worker("w1", "video")
    app.put("video", 2, countdown=600, priority=4)
    with opened(redis_server.url) as backend:
        wait_until(lambda: is_heard(backend, node), seconds=20, every=POLITE)
        wait_until(
            lambda: queue_in(settled(backend), "video").scheduled == 2, seconds=20, every=POLITE
        )
        mail = queue_in(settled(backend), "mail")

    assert mail.by_priority == {0: 0, 1: 1, 5: 2}
    assert mail.oldest is not None
    app.kill(node)


@pytest.mark.parametrize("prefix", ["", "shop:"])
def test_the_last_completion_is_known_by_announced_results(
    make_celery, redis_server, wait_until, prefix
) -> None:
    """The results lie in another database: announcements know none. Large ones are left alone."""
    app = make_celery(redis_server.url, prefix=prefix)
    app.results = redis_server.url.removesuffix("/0") + "/5"
    node = app.start_worker("w1", "mail")
    with opened(redis_server.url, result_backend=app.results) as backend:
        assert Capability.LAST_COMPLETED in backend.info.capabilities
        wait_until(lambda: is_heard(backend, node), seconds=20, every=POLITE)
        wait_until(lambda: queue_in(backend.poll(Interest()), "mail"), every=POLITE)
        with redis.Redis(port=redis_server.port) as client:
            for rubbish in (b"", b"[]", b"{", b'{"status": "SUCCESS"}', b"x" * 2_000_000):
                client.publish("celery-task-meta-x", rubbish)
        began = datetime.now(timezone.utc)
        app.put("mail")

        def last() -> datetime | None:
            return queue_in(backend.poll(Interest()), "mail").last_completed_at

        done = wait_until(last, seconds=20, every=POLITE)
        assert began <= done <= datetime.now(timezone.utc)
        assert settled(backend).warnings == ()
    app.kill(node)


def test_without_results_completions_are_unknown(celery, redis_server, wait_until) -> None:
    celery.results = redis_server.url
    node = celery.start_worker("w1", "mail")
    with opened(redis_server.url) as backend:
        wait_until(lambda: is_heard(backend, node), seconds=20, every=POLITE)
        celery.put("mail")
        wait_until(lambda: backend.poll(Interest()).workers[0].processed == 1, every=POLITE)

        assert queue_in(settled(backend), "mail").last_completed_at is None
        assert Capability.LAST_COMPLETED not in backend.info.capabilities
    celery.kill(node)


def test_results_that_cannot_be_heard_hide_nothing(celery, make_redis, redis_server) -> None:
    other = make_redis("--requirepass", "hunter2")
    celery.put("mail", 2)
    for url, words in (
        (f"redis://:hunter3@127.0.0.1:{other.port}/0", "no results: 127.0.0.1"),
        ("redis://127.0.0.1:1/0", "no results: "),
    ):
        with opened(redis_server.url, result_backend=url) as backend:
            reading = settled(backend)
            assert queue_in(reading, "mail").depth == 2
            assert reading.warnings[0].startswith(words)
            assert "hunter3" not in "".join(reading.warnings)
