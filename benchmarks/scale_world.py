"""Brokers of any size: the keys each system would have written, and workers that seem to live.

Ten thousand queues made by the systems themselves would take an hour and prove nothing more: what
is written here has the shape of what live systems write. Every second queue has three messages.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url

MESSAGES = 3
_SEP = "\x06\x16"
_AT_ONCE = 2_000

Command = tuple[Any, ...]


def _id(kind: int, number: int) -> str:
    return str(UUID(int=(kind << 64) + number, version=4))


def celery_keys(queues: int, workers: int) -> Iterator[Command]:
    """A binding and a list for each queue; a mailbox for each worker."""
    for number in range(queues):
        name = f"queue-{number:05d}"
        yield "SADD", f"_kombu.binding.{name}", _SEP.join((name, "", name))
        for message in range(MESSAGES if number % 2 else 0):
            yield "LPUSH", name, _celery_message(name, number * MESSAGES + message)
    for number in range(workers):
        mailbox = f"{_celery_node(number)}.celery.pidbox"
        yield "SADD", "_kombu.binding.celery.pidbox", _SEP.join(("", "", mailbox))


def _celery_node(number: int) -> str:
    return f"worker-{number:04d}@bench"


def _celery_message(queue: str, number: int) -> str:
    task = _id(1, number)
    return json.dumps(
        {
            "body": base64.b64encode(b"[[], {}, {}]").decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": "shop.mail", "id": task, "eta": None, "retries": 0},
            "properties": {
                "correlation_id": task,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": task,
            },
        }
    )


def celery_beat(workers: int, beat: int) -> Iterator[Command]:
    """The heartbeats half of the workers publish each second, so that each has one in two."""
    for number in range(beat % 2, workers, 2):
        event = {
            "hostname": _celery_node(number),
            "type": "worker-heartbeat",
            "freq": 2.0,
            "active": number % 3,
            "processed": beat * 10 + number,
            "loadavg": [0.1, 0.1, 0.1],
            "sw_ident": "py-celery",
            "sw_ver": "5.5.0",
            "sw_sys": "Linux",
            "utcoffset": 0,
            "pid": 1000 + number,
            "clock": beat,
            "timestamp": time.time(),
        }
        body = base64.b64encode(json.dumps(event).encode()).decode()
        envelope = {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"hostname": event["hostname"]},
            "properties": {"body_encoding": "base64", "delivery_tag": _id(2, number)},
        }
        yield "PUBLISH", "/0.celeryev/worker.heartbeat", json.dumps(envelope)


def rq_keys(queues: int, workers: int) -> Iterator[Command]:
    """A registered queue with its jobs and registries; a hash for each worker."""
    now = _rq_time()
    for number in range(queues):
        name = f"queue-{number:05d}"
        yield "SADD", "rq:queues", f"rq:queue:{name}"
        for message in range(MESSAGES if number % 2 else 0):
            job = _id(1, number * MESSAGES + message)
            yield "RPUSH", f"rq:queue:{name}", job
            yield "HSET", f"rq:job:{job}", "enqueued_at", now, "status", "queued", "origin", name
        if number % 2:
            yield "ZADD", f"rq:finished:{name}", time.time() + 500, _id(3, number)
            yield "ZADD", f"rq:failed:{name}", time.time() + 500, _id(4, number)
    for number in range(workers):
        key = f"rq:worker:worker-{number:04d}"
        yield "SADD", "rq:workers", key
        yield (
            *("HSET", key, "state", "idle", "queues", f"queue-{number % queues:05d}"),
            *("pid", 1000 + number, "hostname", "bench", "birth", now, "last_heartbeat", now),
            *("successful_job_count", 7, "failed_job_count", 0, "version", "2.6.0"),
        )


def _rq_time() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def huey_keys(queues: int, workers: int) -> Iterator[Command]:
    """A list and a schedule for each queue; the words of an agent for each consumer."""
    for number in range(queues):
        name = f"queue{number:05d}"
        yield "ZADD", f"huey.schedule.{name}", time.time() + 3600, f"task {number}"
        for message in range(MESSAGES if number % 2 else 0):
            yield "LPUSH", f"huey.redis.{name}", f"\x80\x05task {number} {message}"
    del workers


def huey_beat(workers: int, beat: int) -> Iterator[Command]:
    """What agents write every few seconds."""
    now = time.time()
    for number in range(beat % 4, workers, 4):
        member = f"queue{number:05d}:bench:{1000 + number}"
        key = f"bgtop:huey:{member}"
        yield (
            *("HSET", key, "queue", f"queue{number:05d}", "host", "bench", "ttl", 15, "beat", now),
            *("version", "huey 3.5.4", "pid", 1000 + number, "started", now - 60),
            *("concurrency", 2, "running", 0, "processed", beat, "failed", 0, "current", "[]"),
        )
        yield "EXPIRE", key, 15
        yield "ZADD", "bgtop:huey", now, member


def dramatiq_keys(queues: int, workers: int) -> Iterator[Command]:
    """A list and a hash for each queue; nothing is kept of an idle worker but its heartbeat."""
    now = int(time.time() * 1000)
    for number in range(queues):
        name = f"queue-{number:05d}"
        for message in range(MESSAGES if number % 2 else 0):
            job = _id(1, number * MESSAGES + message)
            body = {
                "queue_name": name,
                "actor_name": "mail",
                "args": [],
                "kwargs": {},
                "options": {"redis_message_id": job},
                "message_id": job,
                "message_timestamp": now,
            }
            yield "RPUSH", f"dramatiq:{name}", job
            yield "HSET", f"dramatiq:{name}.msgs", job, json.dumps(body)
        if number % 2 == 0:
            yield "ZADD", f"dramatiq:{name}.XQ", now, _id(3, number)
            yield "HSET", f"dramatiq:{name}.XQ.msgs", _id(3, number), "{}"
    del workers


def dramatiq_beat(workers: int, beat: int) -> Iterator[Command]:
    """Every command of a worker refreshes its score."""
    del beat
    now = int(time.time() * 1000)
    for number in range(workers):
        yield "ZADD", "dramatiq:__heartbeats__", now, _id(5, number)


_Keys = Callable[[int, int], Iterator[Command]]
_Beat = Callable[[int, int], Iterator[Command]]


def _silence(workers: int, beat: int) -> Iterator[Command]:
    """RQ's workers prove that they live by a subscription and need not say so."""
    del workers, beat
    yield from ()


WORLDS: dict[str, tuple[_Keys, _Beat]] = {
    "celery": (celery_keys, celery_beat),
    "rq": (rq_keys, _silence),
    "huey": (huey_keys, huey_beat),
    "dramatiq": (dramatiq_keys, dramatiq_beat),
}


@contextmanager
def world(
    system: str, port: int, *, queues: int, workers: int, beside_others: bool = False
) -> Iterator[None]:
    """An emptied server, filled; its workers live until the end of the block.

    What is there already stays with ``beside_others``.
    """
    keys, beat = WORLDS[system]
    address = parse_redis_url(f"redis://127.0.0.1:{port}/0")
    over = threading.Event()
    with closing(RedisLink(address, read_timeout=60.0)) as link:
        # By its name in the slowlog it is told from bgtop.
        link.exchange(pack(("CLIENT", "SETNAME", "bench")))
        if not beside_others:
            link.exchange(pack(("FLUSHALL",)))
        _send(link, keys(queues, workers))
        _send(link, beat(workers, 0))

        def live() -> None:
            number = 0
            while not over.wait(1.0):
                number += 1
                _send(link, beat(workers, number))

        thread = threading.Thread(target=live)
        thread.start()
        try:
            with closing(_listener(port, workers if system == "rq" else 0)):
                yield
        finally:
            over.set()
            thread.join()


def _send(link: RedisLink, commands: Iterator[Command]) -> None:
    batch: list[tuple[str, ...]] = []
    for command in commands:
        batch.append(tuple(map(str, command)))
        if len(batch) == _AT_ONCE:
            link.exchange(pack(*batch))
            batch = []
    if batch:
        link.exchange(pack(*batch))


def _listener(port: int, workers: int) -> socket.socket:
    """RQ's proof of life: somebody listens to each worker's channel."""
    listener = socket.create_connection(("127.0.0.1", port))
    names = [f"rq:pubsub:worker-{number:04d}" for number in range(workers)]
    if names:
        listener.sendall(pack(("SUBSCRIBE", *names)).payload)
    return listener
