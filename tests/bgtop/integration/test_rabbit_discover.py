"""What lives in a vhost whose URL names no job system: found by queues, exchanges and guesses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import amqp
import pytest
from rabbit_server import RabbitVhost

from bgtop.cli.feeds import open_feeds
from bgtop.config import Config, SourceSpec
from bgtop.contracts import Interest, Prober, Settings
from bgtop.model import Frame, Reading
from bgtop.oneshot import Wanted, take_frame
from bgtop.registry import PluginError, broker_for, marks_for, open_prober
from bgtop.testing import wait_until


def opened(url: str) -> Prober:
    broker = broker_for(url)
    assert broker is not None
    return open_prober(broker, url, Settings(), marks_for(broker, url).by_backend)


def looked(url: str) -> tuple[set[str], Reading]:
    with closing(opened(url)) as prober:
        reading = prober.poll(Interest())
        return {finding.backend for finding in prober.found}, reading


def managed(rabbit: RabbitVhost) -> str:
    return f"{rabbit.monitor_url}?management={rabbit.management}"


def unmanaged(rabbit: RabbitVhost) -> str:
    rabbit.let_ask()
    return f"{rabbit.monitor_url}?management=off"


def declare(rabbit: RabbitVhost, *queues: str, exchange: str = "") -> None:
    address = f"127.0.0.1:{rabbit.node.port}"
    with amqp.Connection(address, virtual_host=rabbit.name) as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_declare(queue, durable=True, auto_delete=False)
        if exchange:
            channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)


@pytest.fixture
def frame_of(rabbit: RabbitVhost) -> Callable[[str], Frame]:
    def frame_of(url: str) -> Frame:
        config = Config(sources=(SourceSpec(name="rabbit", url=url),))
        return take_frame(open_feeds(config), config, Wanted(), report=pytest.fail)

    return frame_of


def test_both_systems_of_a_vhost_are_sources_of_their_own(
    rabbit: RabbitVhost, make_celery, dramatiq_rabbit, frame_of
) -> None:
    node = make_celery(rabbit.url).start_worker("w1", "mail")
    wait_until(lambda: {"mail", f"{node}.celery.pidbox"} <= set(rabbit.queues()), seconds=30)
    dramatiq_rabbit.put("default", 2)
    frame = frame_of(managed(rabbit))

    sources = {source.info.system: source for source in frame.snapshot.sources}
    assert set(sources) == {"celery", "dramatiq"}
    assert {source.name for source in sources.values()} == {"rabbit"}
    depths = {
        system: {queue.name: queue.depth for queue in source.reading.queues}
        for system, source in sources.items()
    }
    assert depths == {"celery": {"mail": 0}, "dramatiq": {"default": 2}}


def test_celery_is_known_by_its_exchange_when_its_workers_are_gone(rabbit: RabbitVhost) -> None:
    declare(rabbit, "mail", exchange="celeryev")

    assert looked(managed(rabbit))[0] == {"celery"}
    assert looked(unmanaged(rabbit))[0] == {"celery"}


@pytest.mark.parametrize("name", ["default", "mail"])
def test_dramatiq_is_known_by_its_queues(rabbit: RabbitVhost, name: str) -> None:
    declare(rabbit, name, f"{name}.DQ", f"{name}.XQ")

    assert looked(managed(rabbit))[0] == {"dramatiq"}
    # Without a list only the name that Dramatiq gives by default can be tried.
    assert looked(unmanaged(rabbit))[0] == ({"dramatiq"} if name == "default" else set())


def test_plain_queues_are_nobodys(rabbit: RabbitVhost) -> None:
    declare(rabbit, "mail")
    place = f"127.0.0.1:{rabbit.node.port}, vhost {rabbit.name!r}"

    found, reading = looked(managed(rabbit))
    assert (found, reading.complete) == (set(), True)
    assert reading.warnings == (
        f"no job system found at {place}: looked at 1 queue; celery+amqp:// names one",
    )
    (warning,) = looked(unmanaged(rabbit))[1].warnings
    assert warning.startswith(f"no job system found at {place}: without the management API")


def test_what_was_found_is_not_looked_for_at_each_poll(rabbit: RabbitVhost) -> None:
    declare(rabbit, "celery")
    with closing(opened(managed(rabbit))) as prober:
        first = prober.poll(Interest())
        second = prober.poll(Interest())

    assert first.round_trips > 0
    assert (second.round_trips, second.commands) == (0, 0)


def test_the_search_changes_nothing(rabbit: RabbitVhost) -> None:
    declare(rabbit, "mail", "mail.DQ", "mail.XQ", exchange="celeryev")
    before = rabbit.contents()
    assert looked(managed(rabbit))[0] == {"celery", "dramatiq"}
    assert looked(unmanaged(rabbit))[0] == {"celery"}

    assert rabbit.contents() == before


def test_a_bad_address_is_one_line() -> None:
    with pytest.raises(PluginError, match="cannot read this URL"):
        opened("amqp://h:port/v")
