"""Real Celery on a real broker: producers and consumers in this process, workers in their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery, __version__
from ending import end, kill
from fork_server import Process, start
from kombu import Connection, Exchange, Queue

PLUGINS = Path(__file__).parent
IMPORTED = (
    *("celery.bin.celery", "celery.apps.worker", "celery.apps.beat", "celery.backends.redis"),
    *("celery.concurrency.prefork", "celery.concurrency.thread", "celery.worker.autoscale"),
    *("celery.worker.consumer", "kombu.transport.redis", "kombu.transport.pyamqp"),
    *("celery.events.state", "celery.fixups.django", "celery.worker.control"),
)
"""What every worker imports."""


class CeleryCluster:
    """One application on one Redis URL; ``prefix`` is its ``global_keyprefix``."""

    def __init__(
        self, url: str, folder: Path, prefix: str = "", **transport_options: object
    ) -> None:
        self.url = url
        self.folder = folder
        self.prefix = prefix
        self.options = {"global_keyprefix": prefix, **transport_options}
        self.results: str | None = None
        """The result backend of workers started from now on."""
        self._workers: dict[str, Process] = {}
        self.app = Celery("producer", broker=url, set_as_current=False)
        self.app.conf.broker_transport_options = self.options

    @property
    def version(self) -> str:
        return str(__version__)

    def put(
        self,
        queue: str,
        count: int = 1,
        *,
        priority: int = 0,
        task: str = "add",
        countdown: float | None = None,
    ) -> None:
        """Send real task messages with Celery's own client."""
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            producer = self.app.amqp.Producer(channel)
            args = (1, 2) if task == "add" else (60,)
            for _ in range(count):
                self.app.send_task(
                    task,
                    args=args,
                    queue=queue,
                    priority=priority,
                    producer=producer,
                    countdown=countdown,
                )

    def send(
        self,
        queue: str,
        task: str,
        *args: object,
        kwargs: dict[str, object] | None = None,
        **options: object,
    ) -> str:
        """Send one task; its id."""
        result = self.app.send_task(task, args=args, kwargs=kwargs, queue=queue, **options)
        return str(result.id)

    def put_topic(self, exchange: str, pattern: str, queue: str, routing_key: str) -> None:
        """Send one message over a topic exchange."""
        with self._connection() as connection, connection.channel() as channel:
            topic = Exchange(exchange, type="topic")
            bound = Queue(queue, topic, routing_key=pattern)
            producer = connection.Producer(channel)
            producer.publish({}, exchange=topic, routing_key=routing_key, declare=[bound])

    def _connection(self) -> Connection:
        return Connection(self.url, transport_options=self.options)

    @contextmanager
    def holding(self, queue: str, count: int) -> Iterator[None]:
        """A consumer that takes ``count`` messages and gives them back at the end."""
        taken: list[object] = []
        with self._connection() as connection, connection.channel() as channel:
            source = Queue(queue, no_declare=True, channel=channel)
            consumer = connection.Consumer(
                source,
                channel=channel,
                auto_declare=False,
                accept=["json"],
                prefetch_count=count,
                on_message=taken.append,
            )
            channel.basic_qos(0, count, False)
            consumer.consume()
            while len(taken) < count:
                connection.drain_events(timeout=5)
            yield

    def start_worker(
        self,
        name: str,
        *queues: str,
        options: tuple[str, ...] = (),
        host: str = "test",
        pool: tuple[str, ...] = ("-P", "threads", "-c", "1"),
        **more: str,
    ) -> str:
        """Start a worker process; returns its node name. ``stop`` or ``kill`` takes that name.

        ``more`` is for its environment.
        """
        node = f"{name}@{host}"
        # Not the second for which it asks the other workers what they know.
        command = ("worker", "-n", node, *pool, "-Q", ",".join(queues), "--without-mingle")
        self._start(node, name, (*command, *options), more)
        return node

    def start_beat(self, entries: dict[str, dict[str, object]], **settings: object) -> None:
        """Start redbeat with these entries; ``stop`` takes ``beat``."""
        environment = {"TEST_BEAT": json.dumps(entries), "TEST_REDBEAT": json.dumps(settings)}
        self._start("beat", "beat", ("beat", "-S", "redbeat.RedBeatScheduler"), environment)

    def _start(self, name: str, log: str, arguments: tuple[str, ...], more: dict[str, str]) -> None:
        environment = {
            **os.environ,
            "TEST_BROKER": self.url,
            "TEST_TRANSPORT_OPTIONS": json.dumps(self.options),
            **({"TEST_RESULTS": self.results} if self.results else {}),
            "TEST_RUN_LOG": str(self.folder),
            "PYTHONPATH": str(PLUGINS),
            **more,
        }
        self._workers[name] = start(
            "celery",
            ("-A", "celery_tasks", *arguments, "-l", "WARNING"),
            imported=IMPORTED,
            environment=environment,
            folder=self.folder,
            log=self.folder / f"{log}.log",
            # To be killed together with its pool: one that is young stays when only it is killed.
            leads=True,
            # It may hold a sitecustomize.
            anew="PYTHONPATH" in more,
        )

    def pid(self, node: str) -> int:
        return self._workers[node].pid

    def kill(self, node: str) -> None:
        """What the kernel does when memory is short: the worker cannot say good-bye."""
        kill(self._workers.pop(node))

    def stop(self, node: str) -> None:
        """A warm shutdown, waited for."""
        end(self._workers.pop(node))

    def close(self) -> None:
        """End everything that was started."""
        for node in [*self._workers]:
            self.kill(node)
        self.app.close()
