"""Brokers full of what nobody should have put there, beside one queue that is as it should be.

Everything is made from a seed, so that a failure can be repeated.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import redis

GOOD = "a-good-queue"
WAITING = 3

SEQUENCES = (
    b"\x1b]0;title\x07",
    b"\x1b[6n",
    b"\x1b[18t",
    b"\x1bc",
    b"\x1bP+q544e\x1b\\",
    b"\xc2\x9b6n",
    b"\x9b6n",
    b"\r\n\x08\x08",
    "\u202e\u2066\u200f".encode(),
    b"\x00\x7f\xff\xfe",
    b"%s{0!r}$(id)`id`",
    "\u0301".encode() * 50,
    "\U0001f680\ufe0f".encode(),
)
"""What writes a title, makes the terminal type, clears it, turns text around, breaks UTF-8."""


class Hostile:
    """A source of names and bodies; ``trap`` is a file that only unpickling would make."""

    def __init__(self, seed: int, trap: Path) -> None:
        self.chance = random.Random(seed)
        self._trap = trap
        self._large = 0

    def name(self) -> bytes:
        """No two are the same; some are long, none is empty."""
        chance = self.chance
        parts = [
            chance.choice((chance.choice(SEQUENCES), chance.randbytes(chance.randrange(1, 12))))
            for _ in range(chance.randrange(1, 5))
        ]
        long = b"x" * 4_000 if chance.random() < 0.01 else b""
        return b"%s%x%s" % (b"".join(parts), chance.getrandbits(48), long)

    def body(self) -> bytes:
        """A message: broken, of another kind, enormous, or a program to be unpickled."""
        chance = self.chance
        kind = chance.randrange(8)
        if kind == 0 and self._large < 20:
            self._large += 1
            return chance.choice((b"x" * 1_000_000, b"[" * 1_000_000))
        if kind == 1:
            return chance.randbytes(chance.randrange(300))
        if kind == 2:
            return self.program()
        if kind == 3:
            return zlib.compress(self.program())
        if kind == 4:
            return b"[" * chance.randrange(1, 5_000)
        good = json.dumps(self.message()).encode()
        return good[: chance.randrange(len(good))] if kind == 5 else good

    def program(self) -> bytes:
        """A pickle that makes the trap when it is read."""
        return pickle.dumps(_Program(str(self._trap)))

    def message(self) -> dict[str, object]:
        """The fields of all systems' messages, with values of any kind."""
        names = (
            *("body", "headers", "properties", "content-type", "id", "task", "eta", "queue_name"),
            *("actor_name", "message_id", "message_timestamp", "options", "args", "kwargs"),
        )
        return {name: self.value() for name in names}

    def value(self, depth: int = 0) -> object:
        """Any value JSON knows, and some it should not."""
        chance = self.chance
        text = self.name().decode("utf-8", "replace")
        plain: tuple[object, ...] = (
            *(None, True, -1, 10**30, 1e308, float("nan"), text, ""),
            base64.b64encode(self.program()).decode(),
        )
        if depth < 3 and chance.random() < 0.3:
            return {text: self.value(depth + 1), "eta": chance.choice(plain)}
        return [chance.choice(plain)] if chance.random() < 0.2 else chance.choice(plain)


class _Program:
    def __init__(self, trap: str) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (self.trap,)


Filler: TypeAlias = Callable[["redis.client.Pipeline", Hostile], None]


def any_type(pipe: redis.client.Pipeline, key: bytes, hostile: Hostile) -> None:
    """Under this key something of some type."""
    kind = hostile.chance.randrange(6)
    if kind == 0:
        pipe.set(key, hostile.body())
    elif kind == 1:
        pipe.rpush(key, hostile.body(), hostile.body())
    elif kind == 2:
        pipe.sadd(key, hostile.name(), hostile.name())
    elif kind == 3:
        pipe.zadd(key, {hostile.body(): hostile.chance.uniform(-1e12, 1e12)})
    elif kind == 4:
        pipe.hset(key, hostile.name(), hostile.body())
    else:
        pipe.xadd(key, {hostile.name(): hostile.body()})


def fill_celery(pipe: redis.client.Pipeline, hostile: Hostile) -> None:
    """One step: a binding or what looks like one, messages, entries of unacked, a mailbox."""
    name, sep = hostile.name(), b"\x06\x16"
    pipe.sadd(b"_kombu.binding." + hostile.name()[:20], sep.join((name, b"", name)), hostile.name())
    any_type(pipe, name, hostile)
    any_type(pipe, name + sep + b"3", hostile)
    pipe.hset("unacked", hostile.name(), hostile.body())
    pipe.sadd("_kombu.binding.celery.pidbox", sep + sep + hostile.name() + b".celery.pidbox")
    pipe.publish("/0.celeryev/worker.heartbeat", hostile.body())


def fill_rq(pipe: redis.client.Pipeline, hostile: Hostile) -> None:
    """One step: a queue with its registries, jobs and workers."""
    name = hostile.name()
    pipe.sadd("rq:queues", b"rq:queue:" + name, hostile.name())
    for kind in (b"queue", b"wip", b"failed", b"finished", b"scheduled", b"deferred"):
        any_type(pipe, b"rq:" + kind + b":" + name, hostile)
    pipe.rpush("rq:queue:" + GOOD + "-not", hostile.name())
    job = hostile.name()
    pipe.rpush(b"rq:queue:" + name + b"-listed", job)
    for field in ("enqueued_at", "started_at", "ended_at", "description", "data", "origin"):
        pipe.hset(b"rq:job:" + job, field, hostile.body())
    pipe.sadd("rq:workers", b"rq:worker:" + name)
    if hostile.chance.random() < 0.5:
        for field in ("state", "queues", "birth", "pid", "current_job", "successful_job_count"):
            pipe.hset(b"rq:worker:" + name, field, hostile.body()[:2_000])
    else:
        any_type(pipe, b"rq:worker:" + name, hostile)


def fill_huey(pipe: redis.client.Pipeline, hostile: Hostile) -> None:
    """One step: a queue of any type, a schedule, results, and the words of an agent."""
    name = hostile.name()
    for kind in (b"redis", b"schedule", b"results"):
        any_type(pipe, b"huey." + kind + b"." + name, hostile)
    pipe.lpush(b"huey.redis.l" + name, hostile.program())
    pipe.zadd(b"huey.redis.z" + name, {hostile.chance.randbytes(8) + hostile.program(): -1})
    member = hostile.name()
    pipe.zadd("bgtop:huey", {member: hostile.chance.uniform(0, 2e9)})
    pipe.hset(b"bgtop:huey:" + member, "queue", hostile.body()[:2_000])
    pipe.expire(b"bgtop:huey:" + member, 15)


def fill_dramatiq(pipe: redis.client.Pipeline, hostile: Hostile) -> None:
    """One step: a queue with its three hashes, a heartbeat, what a worker holds."""
    name, job = hostile.name(), hostile.name()
    for ending in (b"", b".msgs", b".DQ.msgs", b".XQ"):
        any_type(pipe, b"dramatiq:" + name + ending, hostile)
    pipe.rpush(b"dramatiq:n" + name, job)
    pipe.hset(b"dramatiq:n" + name + b".msgs", job, hostile.body())
    pipe.zadd("dramatiq:__heartbeats__", {hostile.name(): hostile.chance.uniform(-1e15, 1e15)})
    any_type(pipe, b"dramatiq:__acks__." + hostile.name() + b"." + name, hostile)


FILLERS: dict[str, Filler] = {
    "celery": fill_celery,
    "rq": fill_rq,
    "huey": fill_huey,
    "dramatiq": fill_dramatiq,
}


def fill(admin: redis.Redis, system: str, hostile: Hostile, steps: int) -> None:
    """So many steps of the system's filler; refusals of single commands do not matter."""
    for start in range(0, steps, 100):
        with admin.pipeline(transaction=False) as pipe:
            for _ in range(start, min(start + 100, steps)):
                FILLERS[system](pipe, hostile)
            pipe.execute(raise_on_error=False)
