"""What the conformance tests of every system on RabbitMQ share: its vhost, and who watches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from urllib.parse import quote

import pytest
from door import Door
from rabbit_server import PASSWORD, RabbitVhost, quiet_ports

from bgtop.contracts import Backend, Settings
from bgtop.testing import HOSTILE_NAMES, BackendSuite

OF_THE_SUITE = (
    *("alpha", "Alpha", "beta", "gamma", "10", "9"),
    *(f"few-{number}" for number in range(3)),
    *(f"many-{number}" for number in range(40)),
)


class RabbitSource(BackendSuite):
    """A vhost of its own for each test; the backend logs in as the user the manual recommends."""

    system: ClassVar[str]
    with_management: ClassVar[bool] = True
    settings: ClassVar[Settings] = Settings(connect_timeout=2, read_timeout=5)
    secret = PASSWORD
    patience = 30.0
    # AMQP has room for 255 bytes, and RabbitMQ takes line ends out of names.
    hostile_names = tuple(n for n in HOSTILE_NAMES if len(n) < 255 and "\n" not in n)

    @pytest.fixture(autouse=True)
    def _vhost(self, rabbit: RabbitVhost) -> Iterator[None]:
        self.rabbit = rabbit
        self.door = Door(quiet_ports(1)[0], rabbit.node.port)
        self.door.open()
        yield
        self.door.shut()
        if not rabbit.node.runs:
            rabbit.node.start()

    def open_backend(self) -> Backend:
        """As the recommended user; without management it is told the names of the queues."""
        assert self.plugin is not None
        place = self.rabbit.monitor_url
        more = "management=off&queues=" + ",".join(
            quote(name, safe="") for name in (*OF_THE_SUITE, *self.hostile_names)
        )
        if self.with_management:
            more = "management=" + quote(self.rabbit.management, safe="")
        else:
            # It sees no more of the node than one port, so that an outage can be one of that.
            place = place.replace(f":{self.rabbit.node.port}/", f":{self.door.port}/")
        url = f"{self.system}+{place}?{more}"
        return self.plugin.open(url, self.settings)

    def stop_source(self) -> None:
        """With management the node is killed; to start it again takes eleven seconds of work."""
        if self.with_management:
            self.rabbit.node.stop()
        else:
            self.door.shut()

    def start_source(self) -> None:
        if self.with_management:
            self.rabbit.node.start()
        else:
            self.door.open()

    @contextmanager
    def writes_seen(self) -> Iterator[list[str]]:
        """Everything in the vhost but what is exclusive, which only the backend's own queue is."""
        before = self.rabbit.contents()
        seen: list[str] = []
        yield seen
        after = self.rabbit.contents()
        seen += [key for key in after if after[key] != before[key]]


def bad_urls(system: str) -> tuple[str, ...]:
    """URLs no plug-in on RabbitMQ may accept."""
    return (
        f"{system}+amqp://u:{PASSWORD}@h:port/",
        f"{system}+amqp://u:{PASSWORD}@h1:1;amqp://h2:1/",
        f"{system}+amqp://u:{PASSWORD}@h/v@w",
        f"{system}+amqp://u:{PASSWORD}@h/v%0Aw",
        f"{system}+amqps://u:{PASSWORD}@h?ssl_cert_reqs=maybe",
        f"{system}+amqp://u:{PASSWORD}@h?management=ftp://h",
        f"{system}+amqp://u:{PASSWORD}@h?management=http://u:{PASSWORD}@h:port",
        f"{system}+amqp://u:{PASSWORD}@h?queues={'x' * 256}",
    )
