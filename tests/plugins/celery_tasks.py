"""The application the real Celery workers of the tests serve; the broker comes by environment."""

from __future__ import annotations

import json
import os
import time

from celery import Celery
from kombu import Exchange, Queue

app = Celery(
    "celery_tasks", broker=os.environ.get("TEST_BROKER", "memory://"), set_as_current=False
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get("TEST_TRANSPORT_OPTIONS", "{}")),
    result_backend=os.environ.get("TEST_RESULTS"),
    result_extended=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_enable_remote_control="TEST_NO_REMOTE_CONTROL" not in os.environ,
)


def quorum(queue: str) -> dict[str, object]:
    """Settings for one quorum queue, with which the broker itself delays tasks."""
    name = Exchange(queue, type="topic")
    wanted = Queue(queue, name, routing_key=queue, queue_arguments={"x-queue-type": "quorum"})
    return {
        "task_queues": [wanted],
        "task_default_queue": queue,
        "task_default_queue_type": "quorum",
        "task_default_exchange_type": "topic",
        "worker_detect_quorum_queues": True,
    }


if os.environ.get("TEST_QUORUM"):
    app.conf.update(quorum(os.environ["TEST_QUORUM"]))


@app.task(name="add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="wait", acks_late=True)
def wait(seconds: float) -> float:
    """Runs until the worker is killed, for all a test can see."""
    time.sleep(seconds)
    return seconds


@app.task(name="burn", acks_late=True)
def burn(seconds: float) -> None:
    """Keeps a processor busy until the worker is killed."""
    end, worker = time.monotonic() + seconds, os.getppid()
    while time.monotonic() < end and os.getppid() == worker:
        pass
