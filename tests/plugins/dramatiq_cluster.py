"""Real Dramatiq on a real Redis: a producer in this process, workers in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from ending import end, kill
from fork_server import Process, start

from bgtop.testing import wait_until

PLUGINS = Path(__file__).parent
IMPORTED = (
    *("dramatiq.cli", "dramatiq.worker", "dramatiq.middleware"),
    *("dramatiq.brokers.redis", "dramatiq.brokers.rabbitmq", "multiprocessing.pool"),
)
"""What every worker imports."""


class DramatiqCluster:
    """One application in one namespace of one Redis database."""

    def __init__(self, url: str, folder: Path, namespace: str = "dramatiq") -> None:
        self.url = url
        self.folder = folder
        self.namespace = namespace
        self.broker = RedisBroker(url=url, namespace=namespace)
        self._workers: dict[str, Process] = {}

    @property
    def producer(self) -> str:
        """The name under which this process beats."""
        return str(self.broker.broker_id)

    def put(
        self,
        queue: str,
        count: int = 1,
        *,
        actor: str = "add",
        args: tuple[object, ...] = (1, 2),
        delay: int | None = None,
        stays: bool = False,
        **options: object,
    ) -> list[str]:
        """Send messages with Dramatiq's own client; ``delay`` in milliseconds. Gives their ids.

        Who sent is forgotten at once, unless it ``stays``.
        """
        ids = []
        for _ in range(count):
            message: Message[None] = Message(queue, actor, args, {}, options)
            self.broker.enqueue(message, delay=delay)
            ids.append(message.message_id)
        if not stays:
            self.forget_producer()
        return ids

    def put_noted(self, queue: str, count: int, kind: str, delay: int | None = None) -> list[str]:
        """Messages that note their runs in the folder's log; their ids."""
        ids = [str(uuid4()) for _ in range(count)]
        for id_ in ids:
            args = (id_, str(self.folder), kind)
            self.broker.enqueue(Message(queue, "noted", args, {}, {}, message_id=id_), delay=delay)
        self.forget_producer()
        return ids

    def forget_producer(self) -> None:
        """What Dramatiq does when it was silent for a minute: see :meth:`forget`."""
        self.forget(self.producer)

    def forget(self, name: str) -> None:
        """Until it was silent for 5 s, nobody can tell who ended from a worker."""
        self.broker.client.zrem(f"{self.namespace}:__heartbeats__", name)

    @contextmanager
    def holding(self, queue: str, count: int) -> Iterator[None]:
        """A consumer that takes ``count`` messages and gives them back at the end."""
        consumer = self.broker.consume(queue, prefetch=count, timeout=50)
        taken: list[Any] = []
        while len(taken) < count:
            message = next(consumer)
            if message is not None:
                taken.append(message)
        yield
        self._give_back(consumer, taken)

    def _give_back(self, consumer: Any, taken: list[Any]) -> None:
        consumer.requeue(taken)
        self.forget_producer()

    def add_agent(self) -> None:
        """What an application does that wants its producers known."""
        from bgtop.agents.dramatiq import Agent

        self.broker.add_middleware(Agent())

    def members(self) -> set[str]:
        """All processes that beat, workers or not."""
        found = self.broker.client.zrange(f"{self.namespace}:__heartbeats__", 0, -1)
        return {process.decode() for process in found}

    def start_worker(self, *queues: str, agent: bool = False, threads: int = 2, **more: str) -> str:
        """Start a worker with one process; returns its name once it beats.

        ``more`` is for its environment.
        """
        before = self.members()
        environment = {
            **os.environ,
            "TEST_BROKER": self.url,
            "TEST_NAMESPACE": self.namespace,
            "TEST_QUEUES": ",".join(queues),
            "TEST_AGENT": "1" if agent else "",
            "PYTHONPATH": str(PLUGINS),
            **more,
        }
        self._workers[""] = start(
            "dramatiq",
            ("dramatiq_tasks", "-p", "1", "-t", str(threads), "--skip-logging"),
            imported=IMPORTED,
            environment=environment,
            folder=self.folder,
            log=self.folder / "dramatiq.log",
            # A group of its own: the worker is a child of the process we start.
            leads=True,
            anew="PYTHONPATH" in more,
        )
        name = wait_until(
            lambda: next(iter(self.members() - before), None), seconds=30, why="a worker beats"
        )
        self._workers[name] = self._workers.pop("")
        return name

    def pid(self, name: str) -> int:
        """Of the process that leads its group."""
        return self._workers[name].pid

    def stop(self, name: str) -> None:
        """A warm shutdown, waited for."""
        end(self._workers.pop(name))

    def end(self, name: str) -> None:
        """Sooner than it would itself, which takes three seconds, unless it holds messages yet."""
        held = [*self.broker.client.scan_iter(f"{self.namespace}:__acks__.{name}.*")]
        if held:
            self.stop(name)
        else:
            self.kill(name)
            self.forget(name)

    def kill(self, name: str) -> None:
        """What the kernel does when memory is short: nobody can say good-bye."""
        kill(self._workers.pop(name))

    def close(self) -> None:
        """End everything that was started."""
        for name in [*self._workers]:
            self.kill(name)
        self._disconnect()

    def _disconnect(self) -> None:
        self.broker.client.close()
