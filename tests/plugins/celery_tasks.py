"""The application the real Celery workers of the tests serve; the broker comes by environment."""

from __future__ import annotations

import json
import os
import time

from celery import Celery, Task
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Reject
from celery.schedules import crontab
from kombu import Exchange, Queue
from run_log import RunLog

app = Celery(
    "celery_tasks", broker=os.environ.get("TEST_BROKER", "memory://"), set_as_current=False
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get("TEST_TRANSPORT_OPTIONS", "{}")),
    result_backend=os.environ.get("TEST_RESULTS"),
    result_extended=True,
    worker_prefetch_multiplier=1,
    task_send_sent_event="TEST_SENT_EVENTS" in os.environ,
    worker_hijack_root_logger=False,
    worker_enable_remote_control="TEST_NO_REMOTE_CONTROL" not in os.environ,
    worker_pool_restarts="TEST_POOL_RESTARTS" in os.environ,
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


def clock(entries: dict[str, dict]) -> dict[str, dict]:
    """A schedule for beat, of which cron lines are texts."""
    fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    for entry in entries.values():
        if isinstance(entry["schedule"], str):
            entry["schedule"] = crontab(**dict(zip(fields, entry["schedule"].split())))  # noqa: B905  # Python 3.8
    return entries


if os.environ.get("TEST_BEAT"):
    app.conf.update(
        beat_schedule=clock(json.loads(os.environ["TEST_BEAT"])),
        redbeat_redis_url=os.environ["TEST_BROKER"],
        redbeat_redis_options={},
        redbeat_lock_key=None,
        **json.loads(os.environ.get("TEST_REDBEAT", "{}")),
    )

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


def run(name: str, kind: str) -> None:
    """Declare a task that notes its runs in the file the environment names."""

    @app.task(name=name, bind=True)
    def task(self: Task) -> None:
        RunLog(os.environ["TEST_RUN_LOG"]).run(self.request.id, kind)


for one in ("good", "bad", "long"):
    run(f"run.{one}", one)


@app.task(name="note")
def note(path: str, *args: object, **kwargs: object) -> list[object]:
    """Leaves a line that says with what it was called."""
    with open(path, "a") as notes:
        notes.write(json.dumps([args, kwargs]) + "\n")
    return [*args]


@app.task(name="falter")
def falter(path: str, *args: object, **kwargs: object) -> None:
    """Leaves a line too, and fails until somebody mends it."""
    note(path, *args, **kwargs)
    if not os.path.exists(path + ".mended"):
        raise ValueError("not yet", 7)


@app.task(name="again", bind=True, max_retries=5)
def again(self: Task, times: int) -> int:
    """Succeeds after it was tried so many times again."""
    if self.request.retries < times:
        raise self.retry(countdown=0, exc=ValueError("not yet"))
    return times


@app.task(name="decline")
def decline() -> None:
    """Wants nothing to do with its message."""
    raise Reject("no", requeue=False)


@app.task(name="abortable", base=AbortableTask, bind=True)
def abortable(self: AbortableTask, path: str) -> None:
    """Runs until it is asked to end, and leaves a line then."""
    note(path, "begun")
    while not self.is_aborted():
        time.sleep(0.05)
    note(path, "asked to end")


@app.task(name="hold")
def hold(path: str) -> None:
    """Says which process runs it, and runs until that one is stopped."""
    worker = os.getppid()
    with open(path, "w") as notes:
        notes.write(str(os.getpid()))
    while os.getppid() == worker:
        time.sleep(0.05)
