"""The application the real Dramatiq workers of the tests serve; everything comes by environment."""

from __future__ import annotations

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from run_log import RunLog

url = os.environ.get("TEST_BROKER", "redis://")
broker: dramatiq.Broker
if url.startswith("amqp:"):
    # An old Dramatiq beside which no pika is installed serves Redis only.
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=url)
else:
    broker = RedisBroker(url=url, namespace=os.environ.get("TEST_NAMESPACE", "dramatiq"))
    broker.add_middleware(Results(backend=RedisBackend(url=url)))
if os.environ.get("TEST_AGENT"):
    from bgtop.agents.dramatiq import Agent

    broker.add_middleware(Agent())
dramatiq.set_broker(broker)
queues = os.environ.get("TEST_QUEUES", "default").split(",")


@dramatiq.actor(queue_name=queues[0])
def add(a: int, b: int) -> None:
    a + b


@dramatiq.actor(queue_name=queues[0], max_retries=0)
def fail() -> None:
    raise ValueError("boom")


@dramatiq.actor(queue_name=queues[0])
def wait(path: str) -> None:
    """Runs until the file is there, or the worker is killed."""
    while not os.path.exists(path):
        time.sleep(0.02)


@dramatiq.actor(queue_name=queues[0], max_retries=1, min_backoff=10, max_age=60_000)
def mend(path: str, word: str) -> None:
    """Fails twice until the file is there; then its own words are added to it, a line each."""
    if not os.path.exists(path):
        raise ValueError(f"no {word}")
    with open(path, "a") as file:
        file.write(f"{word}\n")


# Options nobody knows are refused, and only the middleware for results knows this one.
results = {} if url.startswith("amqp:") else {"store_results": True}


@dramatiq.actor(queue_name=queues[0], max_retries=0, **results)
def noted(id_: str, folder: str, kind: str) -> None:
    """Note its runs in the folder's log."""
    RunLog(folder).run(id_, kind)


for queue in queues[1:]:
    broker.declare_queue(queue)
