"""The command itself on a RabbitMQ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import amqp
import pytest
from rabbit_server import PASSWORD, RabbitVhost

from bgtop.registry import plugin_for


@pytest.mark.parametrize(
    ("scheme", "system"),
    [
        ("celery+amqp", "celery"),
        ("celery+amqps", "celery"),
        ("dramatiq+amqp", "dramatiq"),
        ("dramatiq+amqps", "dramatiq"),
    ],
)
def test_who_opens_which_address(scheme: str, system: str) -> None:
    assert plugin_for(f"{scheme}://h").name == system


@pytest.mark.parametrize("prefix", ["", "celery+"])
def test_a_snapshot(rabbit: RabbitVhost, run: Callable, prefix: str) -> None:
    address = f"127.0.0.1:{rabbit.node.port}"
    with amqp.Connection(address, virtual_host=rabbit.name) as connection:
        channel = connection.channel()
        channel.confirm_select()
        channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        channel.queue_declare("mail", durable=True, auto_delete=False)
        channel.basic_publish_confirm(amqp.Message("x"), routing_key="mail")
    url = f"{prefix}{rabbit.monitor_url}?management={rabbit.management}"
    done = run("snapshot", url, "--format", "json")
    document = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert PASSWORD not in done.stdout
    (source,) = [source for source in document["sources"] if source["system"]]
    assert (source["system"], source["broker"], source["error"]) == ("celery", "rabbitmq", None)
    assert source["broker_version"].count(".") >= 1
    (queue,) = document["queues"]
    assert [queue[key] for key in ("name", "depth", "unacked", "consumers")] == ["mail", 1, 0, 0]


@pytest.mark.parametrize("system", ["celery", "dramatiq"])
def test_without_the_library_it_is_said_what_to_install(
    run: Callable, environment: dict[str, str], tmp_path: Path, system: str
) -> None:
    folder = tmp_path / "no-amqp"
    folder.mkdir()
    (folder / "amqp.py").write_text("raise ImportError(\"No module named 'amqp'\")\n")
    path = f"{folder}:{environment['PYTHONPATH']}"
    done = run("snapshot", f"{system}+amqp://127.0.0.1:1", PYTHONPATH=path)

    assert done.returncode == 2
    assert "pip install 'bgtop[rabbitmq]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_redis_is_read_without_a_trace_of_rabbitmq(run: Callable, environment, tmp_path) -> None:
    folder = tmp_path / "no-amqp"
    folder.mkdir()
    for name in ("amqp", "kombu", "vine"):
        (folder / f"{name}.py").write_text("raise AssertionError('imported')\n")
    path = f"{folder}:{environment['PYTHONPATH']}"
    done = run("snapshot", "celery+redis://127.0.0.1:1", PYTHONPATH=path)

    assert "connection refused by 127.0.0.1:1" in done.stderr
