"""Workers and a producer of no-op jobs for any of four systems: ``busy.py SYSTEM work|send …``.

``work QUEUE…`` takes jobs from these queues for ever; ``send RATE`` puts so many a second into
``BENCH_QUEUES`` in turn, unless too many wait already.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence

import redis

URL = os.environ["BENCH_BROKER"]
QUEUES = os.environ["BENCH_QUEUES"].split(",")
MOST_WAITING = 20
"""Jobs a queue: a producer that is faster than the workers waits for them."""

SENT = "bench:sent"
"""Where the producer says how many jobs it has sent."""

Send = Callable[[str], object]


def noop() -> None:
    """The job."""


def celery_app() -> tuple[Send, Callable[[Sequence[str]], None]]:
    from celery import Celery

    app = Celery("busy", broker=URL)
    app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
    task = app.task(name="bench.noop")(noop)

    def work(queues: Sequence[str]) -> None:
        node = f"{queues[0]}@bench"
        options = ["-P", "solo", "-E", "-n", node, "-Q", ",".join(queues), "-l", "ERROR"]
        app.worker_main(["worker", *options])

    return lambda queue: task.apply_async((), queue=queue), work


def rq_app() -> tuple[Send, Callable[[Sequence[str]], None]]:
    from rq import Queue, SimpleWorker

    link = redis.Redis.from_url(URL)
    named = {name: Queue(name, connection=link) for name in QUEUES}

    def work(queues: Sequence[str]) -> None:
        SimpleWorker([named[name] for name in queues], connection=link).work(logging_level="ERROR")

    return lambda queue: named[queue].enqueue("busy.noop"), work


def huey_app() -> tuple[Send, Callable[[Sequence[str]], None]]:
    from huey import RedisHuey

    apps = {name: RedisHuey(name, url=URL, results=False) for name in QUEUES}
    tasks = {name: app.task(name="noop")(noop) for name, app in apps.items()}

    def work(queues: Sequence[str]) -> None:
        for name in queues:
            apps[name].create_consumer(workers=1, periodic=False).start()
        threading.Event().wait()

    return lambda queue: tasks[queue](), work


def dramatiq_app() -> tuple[Send, Callable[[Sequence[str]], None]]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=URL)
    dramatiq.set_broker(broker)
    actors = {
        name: dramatiq.actor(noop, actor_name=f"noop-{name}", queue_name=name) for name in QUEUES
    }

    def work(queues: Sequence[str]) -> None:
        dramatiq.Worker(broker, queues=set(queues), worker_threads=1).start()
        threading.Event().wait()

    return lambda queue: actors[queue].send(), work


APPS = {
    "celery": (celery_app, "{}"),
    "rq": (rq_app, "rq:queue:{}"),
    "huey": (huey_app, "huey.redis.{}"),
    "dramatiq": (dramatiq_app, "dramatiq:{}"),
}


def send(system: str, rate: float) -> None:
    """For ever."""
    make, key = APPS[system]
    put, _ = make()
    link = redis.Redis.from_url(URL)
    number, due, look_at = 0, time.monotonic(), 0.0
    while True:
        now = time.monotonic()
        if now >= look_at:
            look_at = now + 0.5
            waiting = link.pipeline(transaction=False)
            for name in QUEUES:
                waiting.llen(key.format(name))
            waiting.set(SENT, number)
            *lengths, _ = waiting.execute()
            if sum(lengths) > MOST_WAITING * len(QUEUES):
                time.sleep(0.1)
                look_at = due = time.monotonic()
                continue
        put(QUEUES[number % len(QUEUES)])
        number += 1
        due = max(due + 1 / rate, now - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    _, system, role, *rest = sys.argv
    if role == "send":
        send(system, float(rest[0]))
    else:
        APPS[system][0]()[1](rest)
