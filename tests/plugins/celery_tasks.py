"""The application the real Celery workers of the tests serve; the broker comes by environment."""

from __future__ import annotations

import json
import os
import time

from celery import Celery

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
)


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
