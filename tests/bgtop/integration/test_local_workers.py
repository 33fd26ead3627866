"""CPU and memory of real workers on this machine, each system with its own processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bgtop.backends.bgworker import plugin as bgworker_plugin
from bgtop.backends.celery import plugin as celery_plugin
from bgtop.backends.dramatiq import plugin as dramatiq_plugin
from bgtop.backends.huey import plugin as huey_plugin
from bgtop.backends.rq import plugin as rq_plugin
from bgtop.contracts import Backend, BackendPlugin, Interest, Settings
from bgtop.model import WorkerReading
from bgworker import BgWorker

HOST = os.uname().nodename
POLITE = 0.1
MEGABYTE = 1024 * 1024

BURN = """
from bgworker import BgWorker
bg = BgWorker()

@bg.task(name="burn")
def burn():
    while True:
        pass
"""


def measured(backend: Backend, enough: Callable[[WorkerReading], bool]) -> WorkerReading | None:
    workers = backend.poll(Interest()).workers
    return next((w for w in workers if w.rss_bytes is not None and enough(w)), None)


def row(backend: Backend, name: str) -> WorkerReading | None:
    workers = backend.poll(Interest()).workers
    return next((w for w in workers if w.name == name and w.last_heartbeat_at), None)


def is_whole(worker: WorkerReading) -> bool:
    return worker.cpu_percent is not None


def burns(worker: WorkerReading) -> bool:
    """Most of a core, even on a machine with much else to do; an idle worker is far from it."""
    return worker.cpu_percent is not None and worker.cpu_percent > 10


def opened(plugin: BackendPlugin, url: str) -> closing[Backend]:
    return closing(plugin.open(url, Settings()))


def test_a_celery_worker_counts_with_its_children(celery, redis_server, wait_until) -> None:
    node = celery.start_worker("w1", "mail", host=HOST, pool=("-P", "prefork", "-c", "2"))
    other = celery.start_worker("w2", "video")
    celery.put("mail", task="burn")
    with opened(celery_plugin, f"celery+{redis_server.url}") as backend:
        worker = wait_until(lambda: measured(backend, burns), seconds=30, every=POLITE)
        seen = wait_until(lambda: row(backend, other), seconds=30, every=POLITE)

    # The task runs in a child: the parent alone would neither burn nor be so large.
    assert worker.name == node
    assert worker.rss_bytes > 2 * 20 * MEGABYTE
    # It says that it lives on another host.
    assert (seen.cpu_percent, seen.rss_bytes) == (None, None)
    celery.kill(node)
    celery.kill(other)


def test_an_rq_worker_counts_with_its_horse(rq, redis_server, wait_until) -> None:
    with opened(rq_plugin, f"rq+{redis_server.url}") as backend:
        name = rq.start_worker("w1", "mail")
        idle = wait_until(lambda: measured(backend, lambda _: True), seconds=30, every=POLITE)
        rq.put("mail", task="wait")
        busy = wait_until(
            lambda: measured(backend, lambda w: w.rss_bytes > idle.rss_bytes * 1.3),
            seconds=30,
            every=POLITE,
        )
        rq.kill(name)

    assert busy.name == name
    assert idle.rss_bytes > 10 * MEGABYTE


def test_a_huey_consumer_with_the_agent_is_measured(make_huey, redis_server, wait_until) -> None:
    huey = make_huey("RedisHuey", redis_server.url)
    consumer = huey.start_consumer("mail", agent=True)
    with opened(huey_plugin, f"huey+{redis_server.url}") as backend:
        worker = wait_until(lambda: measured(backend, is_whole), seconds=30, every=POLITE)
    huey.stop(consumer)

    assert worker.rss_bytes > 10 * MEGABYTE


def test_a_dramatiq_worker_with_the_agent_is_measured(
    make_dramatiq, redis_server, wait_until
) -> None:
    dramatiq = make_dramatiq(redis_server.url)
    name = dramatiq.start_worker("mail", agent=True)
    with opened(dramatiq_plugin, f"dramatiq+{redis_server.url}") as backend:
        worker = wait_until(lambda: measured(backend, is_whole), seconds=30, every=POLITE)
    dramatiq.stop(name)

    assert worker.rss_bytes > 10 * MEGABYTE


def test_a_bgworker_counts_with_its_children(tmp_path: Path, wait_until) -> None:
    (tmp_path / "app.py").write_text(BURN)
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with closing(BgWorker(url)) as producer:
        producer.task(name="burn")(lambda: None).delay()
    command = [str(Path(sys.executable).with_name("bgworker")), "run", "--app", "app"]
    environment = {**os.environ, "BGWORKER_URL": url, "PYTHONPATH": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--concurrency", "1"], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        with opened(bgworker_plugin, url) as backend:
            worker = wait_until(lambda: measured(backend, burns), seconds=30, every=POLITE)
        assert worker.pid == process.pid
        assert worker.rss_bytes > 20 * MEGABYTE
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
