"""What the conformance tests of every system on RabbitMQ share: its vhost, and who watches it."""

from __future__ import annotations

import re
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
    kills_node: bool = False
    """Whether an outage is the end of the node, which takes eleven seconds of work to start again;
    else it is that of its ports."""
    settings: ClassVar[Settings] = Settings(connect_timeout=2, read_timeout=5)
    secret = PASSWORD
    patience = 30.0
    # AMQP has room for 255 bytes, and RabbitMQ takes line ends out of names.
    hostile_names = tuple(n for n in HOSTILE_NAMES if len(n) < 255 and "\n" not in n)

    @pytest.fixture(autouse=True)
    def _vhost(self, rabbit: RabbitVhost) -> Iterator[None]:
        self.rabbit = rabbit
        ports = (rabbit.node.port, rabbit.node.management_port)
        self.doors = [Door(*pair) for pair in zip(quiet_ports(2), ports, strict=True)]
        for door in self.doors:
            door.open()
        yield
        for door in self.doors:
            door.shut()
        if not rabbit.node.runs:
            rabbit.node.start()

    def open_backend(self) -> Backend:
        """As the recommended user; without management it is told the names of the queues."""
        assert self.plugin is not None
        more = "management=off&queues=" + ",".join(
            quote(name, safe="") for name in (*OF_THE_SUITE, *self.hostile_names)
        )
        if self.with_management:
            more = "management=" + quote(self.by_doors(self.rabbit.management), safe="")
        else:
            self.rabbit.let_ask()
        url = f"{self.system}+{self.by_doors(self.rabbit.monitor_url)}?{more}"
        return self.plugin.open(url, self.settings)

    def by_doors(self, url: str) -> str:
        """The way to the node on which an outage can be one of its ports."""
        for door in self.doors:
            url = re.sub(rf":{door.target}\b", f":{door.port}", url)
        return url

    def stop_source(self) -> None:
        if self.kills_node:
            self.rabbit.node.stop()
        else:
            for door in self.doors:
                door.shut()

    def start_source(self) -> None:
        if self.kills_node:
            self.rabbit.node.start()
        else:
            for door in self.doors:
                door.open()

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
