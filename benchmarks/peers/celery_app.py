"""The Celery application the monitors watch; ``celery_app.py RATE`` sends tasks at that rate."""

from __future__ import annotations

import os
import sys
import time

from celery import Celery

QUEUES = os.environ["BENCH_QUEUES"].split(",")

app = Celery("celery_app", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.work")
def work(seconds: float) -> None:
    time.sleep(seconds)


def send(rate: float) -> None:
    """One task after the other, to each queue in turn, for ever."""
    due = time.monotonic()
    number = 0
    while True:
        work.apply_async((0.01,), queue=QUEUES[number % len(QUEUES)])
        number += 1
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    send(float(sys.argv[1]))
