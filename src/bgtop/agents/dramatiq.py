"""What Dramatiq does not store, told by the workers themselves: counters, and what they run.

::

    from bgtop.agents.dramatiq import Agent

    broker.add_middleware(Agent())

Each worker process writes one small JSON string, ``<namespace>:__bgtop__.<process>``, every two
seconds; it expires after half a minute. A process that only enqueues says just that, at most every
20 seconds and only when it enqueues. Nothing of a message but its id, its actor and its queue is
told, and no fault of the agent reaches a task or an enqueue.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from dramatiq import Middleware, __version__

if TYPE_CHECKING:
    from dramatiq import Broker, Message, Worker
    from dramatiq.broker import MessageProxy

BEAT = 2.0
"""Seconds between two words of a worker."""

EXPIRY = 30
"""Seconds after which the words of a worker that was killed are gone."""

FAREWELL = 120
"""Seconds for which a worker that left in good order is known to have left.

Longer than the minute Dramatiq keeps its heartbeat.
"""

PRODUCER_BEAT = 20.0
"""Seconds between two words of a process that only enqueues."""

PRODUCER_EXPIRY = 60
"""Seconds after which its words are gone."""

_MOST_TASKS = 1_000
_MOST_COUNTED = 100
"""Pairs of actor and queue that are counted one by one; all others are one more, ``other``."""

_log = logging.getLogger("bgtop.agents.dramatiq")


class Agent(Middleware):
    """Tells bgtop what each worker runs, has processed and has failed; for Redis brokers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, dict[str, object]] = {}
        self._processed = 0
        self._failed = 0
        self._counts: dict[tuple[str, str], dict[str, int]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._facts: dict[str, object] = {}
        self._enqueued_at = float("-inf")
        self._started_at = 0

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """The first tasks begin before it has booted."""
        self._started_at = _now()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Begin to speak, in a thread of its own."""
        if not _is_on_redis(broker):
            _log.warning("the agent of bgtop speaks over Redis only; this broker is another")
            return
        self._facts = {
            "agent": "dramatiq",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": self._started_at,
            "version": f"dramatiq {__version__}",
            "threads": worker.worker_threads,
        }
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._speak, args=(broker, worker), name="bgtop-agent", daemon=True
        )
        self._thread.start()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002
        """A task begins."""
        task: dict[str, object] = {
            "id": message.message_id,
            "actor": message.actor_name,
            "queue": message.queue_name,
            "started_at": _now(),
        }
        with self._lock:
            self._running[message.message_id] = task

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,
        *,
        result: Any = None,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """A task has ended, well or not; one that will be retried has failed this time."""
        with self._lock:
            self._running.pop(message.message_id, None)
            self._processed += 1
            self._failed += exception is not None
            key = (message.actor_name, message.queue_name)
            if key not in self._counts and len(self._counts) >= _MOST_COUNTED:
                key = ("other", "other")
            counts = self._counts.setdefault(key, {"succeeded": 0, "failed": 0})
            counts["succeeded" if exception is None else "failed"] += 1

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002
        """A message was not run after all; it counts as nothing."""
        with self._lock:
            self._running.pop(message.message_id, None)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Say good-bye."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ended.set()
            thread.join(BEAT)
            self._write(broker, {**self._words(worker), "left": True}, FAREWELL)

    def after_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:  # noqa: ARG002
        """Say that this process is no worker, which its heartbeat would not tell."""
        now = time.monotonic()
        if self._thread is None and now - self._enqueued_at >= PRODUCER_BEAT:
            self._enqueued_at = now
            if _is_on_redis(broker):
                self._write(broker, {"agent": "dramatiq", "worker": False}, PRODUCER_EXPIRY)

    def _speak(self, broker: Broker, worker: Worker) -> None:
        while True:
            self._write(broker, self._words(worker), EXPIRY)
            if self._ended.wait(BEAT):
                return

    def _words(self, worker: Worker) -> dict[str, object]:
        with self._lock:
            counted = {
                "processed": self._processed,
                "failed": self._failed,
                "counts": [[*key, {**how}] for key, how in self._counts.items()],
                "current": [*self._running.values()][:_MOST_TASKS],
            }
        # Those it consumes; a copy first, as queues may be declared at any moment.
        consumed = [name for name in [*worker.consumers] if not name.endswith(".DQ")]
        return {**self._facts, **counted, "queues": sorted(consumed)}

    def _write(self, broker: Any, words: dict[str, object], seconds: int) -> None:
        key = f"{broker.namespace}:__bgtop__.{broker.broker_id}"
        try:
            broker.client.set(key, json.dumps(words), ex=seconds)
        except Exception as fault:  # noqa: BLE001  # whatever it is, tasks go on
            _log.debug("bgtop's agent could not write: %s", fault)


def _is_on_redis(broker: Broker) -> bool:
    # The class itself would import redis-py, which an application on RabbitMQ may not have.
    return hasattr(broker, "broker_id") and hasattr(broker, "client")


def _now() -> int:
    """Milliseconds since the epoch, as in the messages of Dramatiq."""
    return time.time_ns() // 1_000_000
