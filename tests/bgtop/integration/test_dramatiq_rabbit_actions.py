"""What actions on Dramatiq's messages in RabbitMQ really do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import amqp
import pytest

from bgtop.actions import CancelJob, DeleteJob, PauseQueue, PurgeQueue, RequeueFailed, RetryJob
from bgtop.backends.dramatiq import plugin
from bgtop.contracts import Backend, Interest, NoSuchTarget, NotPermitted, Settings, Unsupported
from bgtop.model import JobQuery
from bgtop.testing import queue_in, wait_until

HOUR = 3_600_000


@pytest.fixture
def backend(rabbit, dramatiq_rabbit) -> Iterator[Backend]:
    """As a user with the rights the manual names."""
    rabbit.allow("mon", configure="^$", write=r"^amq\.default$", read=r"^mail(\.XQ)?$")
    url = f"dramatiq+{rabbit.monitor_url}?management={quote(rabbit.management, safe='')}"
    with closing(plugin.open(url, Settings())) as backend:
        yield backend


@pytest.fixture
def channel(rabbit) -> Iterator[amqp.Channel]:
    """Of somebody with every right."""
    host, _, _ = rabbit.url.rpartition("/")[0].rpartition("@")[2].partition("/")
    with amqp.Connection(host, "guest", "guest", virtual_host=rabbit.name) as connection:
        yield connection.channel()


def ready(channel: amqp.Channel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).message_count)


def fail(dramatiq, channel: amqp.Channel, trace: Path, *words: str) -> list[str]:
    """Their ids, once all are dead and the worker is gone."""
    ids = [dramatiq.put("mail", actor="mend", args=(str(trace), word))[0] for word in words]
    worker = dramatiq.start_worker("mail")
    wait_until(lambda: ready(channel, "mail.XQ") == len(words), seconds=30, why="all are dead")
    dramatiq.kill(worker)  # it holds nothing any more; its own way to end takes three seconds
    return ids


def work_off(dramatiq, trace: Path, count: int) -> list[str]:
    """What ran, by its own words."""
    trace.touch()
    worker = dramatiq.start_worker("mail")
    wait_until(lambda: len(trace.read_text().split()) >= count, seconds=30, why="all have run")
    dramatiq.stop(worker)
    return sorted(trace.read_text().split())


def test_dead_letters_run_again_with_their_own_arguments(
    dramatiq_rabbit, backend, channel, tmp_path
) -> None:
    """One by its id, one is deleted, then all others; what is only looked at keeps its place."""
    trace = tmp_path / "ran"
    first, second, third, fourth = fail(dramatiq_rabbit, channel, trace, "a", "b", "c", "d")
    assert queue_in(backend.poll(Interest()), "mail").dead == 4
    assert backend.poll(Interest(jobs=JobQuery())).jobs is None

    assert backend.perform(RetryJob(id=third)).changed == 1
    assert backend.perform(DeleteJob(id=second)).changed == 1
    for action in (RetryJob(id=third), DeleteJob(id=second), RetryJob(id="")):
        with pytest.raises(NoSuchTarget, match="no dead letter"):
            backend.perform(action)
    assert work_off(dramatiq_rabbit, trace, 1) == ["c"]
    assert ready(channel, "mail.XQ") == 2

    assert backend.perform(RequeueFailed(queue="nobody")).changed == 0
    assert backend.perform(RequeueFailed(task="add")).changed == 0
    assert ready(channel, "mail.XQ") == 2
    assert backend.perform(RequeueFailed(queue="mail", task="mend")).changed == 2
    assert ready(channel, "mail.XQ") == 0
    sent = [channel.basic_get("mail") for _ in range(2)]
    bodies = [json.loads(message.body) for message in sent]
    assert {body["message_id"] for body in bodies} == {first, fourth}
    assert all(body["queue_name"] == "mail" and not body["options"] for body in bodies)
    assert all(message.properties["delivery_mode"] == 2 for message in sent)
    for message in sent:
        channel.basic_reject(message.delivery_tag, requeue=True)
    assert work_off(dramatiq_rabbit, trace, 3) == ["a", "c", "d"]


def test_a_purge_leaves_what_is_delayed_dead_or_with_a_worker(
    dramatiq_rabbit, backend, channel, tmp_path
) -> None:
    (dead,) = fail(dramatiq_rabbit, channel, tmp_path / "ran", "dead")
    dramatiq_rabbit.put("mail", 3)
    dramatiq_rabbit.put("mail", 1, delay=HOUR)
    with dramatiq_rabbit.holding("mail", 1):
        wait_until(lambda: ready(channel, "mail") == 2, why="one is held")
        assert backend.perform(PurgeQueue(queue="mail")).changed == 2
        assert (ready(channel, "mail"), ready(channel, "mail.DQ")) == (0, 1)
    wait_until(lambda: ready(channel, "mail") == 1, why="what was held is given back")
    assert ready(channel, "mail.XQ") == 1
    with pytest.raises(NoSuchTarget, match="no queue 'nobody'"):
        backend.perform(PurgeQueue(queue="nobody"))
    for action in (CancelJob(id=dead), PauseQueue(queue="mail")):
        with pytest.raises(Unsupported):
            backend.perform(action)
    assert ready(channel, "mail.XQ") == 1


def test_nothing_is_lost_where_a_message_cannot_be_put(
    dramatiq_rabbit, rabbit, backend, channel, tmp_path
) -> None:
    """No right to publish, then no right to read, then a queue that takes no more."""
    (dead,) = fail(dramatiq_rabbit, channel, tmp_path / "ran", "dead")
    rabbit.allow("mon", configure="^$", write="^$", read=".*")
    with pytest.raises(NotPermitted, match="does not let user 'mon'"):
        backend.perform(RetryJob(id=dead))
    wait_until(lambda: ready(channel, "mail.XQ") == 1, why="it is given back")
    rabbit.allow("mon", configure="^$", write="^$", read="^$")
    with pytest.raises(NotPermitted, match="does not let user 'mon'"):
        backend.perform(PurgeQueue(queue="mail"))

    rabbit.allow("mon", configure="^$", write=".*", read=".*")
    policy = {"pattern": "^mail$", "definition": {"max-length": 0, "overflow": "reject-publish"}}
    rabbit.node.request("PUT", f"/policies/{rabbit.quoted}/full", policy)
    wait_until(lambda: rabbit.queues()["mail"].get("policy") == "full", why="the policy holds")
    with pytest.raises(Exception, match="did not take the message"):
        backend.perform(RetryJob(id=dead))
    wait_until(lambda: ready(channel, "mail.XQ") == 1, why="it is given back")
    assert ready(channel, "mail") == 0


def test_two_who_send_again_at_once_double_nothing(
    dramatiq_rabbit, rabbit, backend, channel, tmp_path
) -> None:
    trace = tmp_path / "ran"
    words = [f"word{number}" for number in range(8)]
    fail(dramatiq_rabbit, channel, trace, *words)
    url = f"dramatiq+{rabbit.monitor_url}?management={quote(rabbit.management, safe='')}"
    with closing(plugin.open(url, Settings())) as other, ThreadPoolExecutor(2) as hands:
        both = [hands.submit(one.perform, RequeueFailed()) for one in (backend, other)]
        changed = [each.result().changed for each in both]

    assert sum(changed) == len(words)
    assert (ready(channel, "mail"), ready(channel, "mail.XQ")) == (len(words), 0)
    assert work_off(dramatiq_rabbit, trace, len(words)) == sorted(words)


ACT = """
import sys
from bgtop.actions import RequeueFailed
from bgtop.backends.dramatiq import plugin
from bgtop.contracts import Settings
plugin.open(sys.argv[1], Settings()).perform(RequeueFailed())
"""


def test_who_is_killed_in_between_loses_nothing(dramatiq_rabbit, rabbit, backend, channel) -> None:
    """At most the one message that was under way is in both queues."""
    dramatiq_rabbit.put("mail", 1)
    channel.queue_purge("mail")
    ids = {f"id{number}" for number in range(3_000)}
    for one in sorted(ids):
        fields = {"message_id": one, "actor_name": "add", "args": [1, 2], "options": {}}
        channel.basic_publish(
            amqp.Message(json.dumps(fields), delivery_mode=2), routing_key="mail.XQ"
        )
    wait_until(lambda: ready(channel, "mail.XQ") == len(ids), seconds=20, why="all are dead")
    url = f"dramatiq+{rabbit.monitor_url}?management={quote(rabbit.management, safe='')}"
    with subprocess.Popen([sys.executable, "-c", ACT, url]) as hand:
        wait_until(lambda: ready(channel, "mail") > 20, seconds=20, every=0, why="some are sent")
        hand.kill()
    wait_until(lambda: not channel_holds(rabbit), seconds=20, why="what it held is given back")

    left, sent = ready(channel, "mail.XQ"), ready(channel, "mail")
    assert left > 0
    assert left + sent in (len(ids), len(ids) + 1)
    found = set()
    for queue, count in (("mail.XQ", left), ("mail", sent)):
        messages = [channel.basic_get(queue, no_ack=True) for _ in range(count)]
        found |= {json.loads(message.body)["message_id"] for message in messages}
    assert found == ids


def channel_holds(rabbit) -> int:
    """How many messages are with somebody who has not acknowledged them."""
    return sum(row.get("messages_unacknowledged", 0) for row in rabbit.queues().values())
