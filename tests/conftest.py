"""Fixtures every test may use: waiting, and real servers on free ports."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from repeated import EXAMPLES
from worlds import open_cluster

# An example that takes long on a busy machine is no defect.
hypothesis.settings.register_profile("bgtop", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.load_profile("bgtop")

pytest.register_assert_rewrite(
    "bgtop.testing",
    "celery_desk",
    "job_lists",
    "rabbit_server",
    "rabbit_source",
    "redis_checks",
    "redis_server",
    "redis_source",
    "sqlite_source",
    "standing",
    "started_worker",
    "two_engines",
)

# After the rewrite is set up.
from redis_server import RedisServer  # noqa: E402
from redis_server import free_port as _free_port  # noqa: E402
from redis_server import program as _program  # noqa: E402

from bgtop.testing import wait_until as _wait_until  # noqa: E402

if TYPE_CHECKING:
    from arq_cluster import ArqCluster
    from celery_cluster import CeleryCluster
    from dramatiq_cluster import DramatiqCluster
    from dramatiq_on_rabbit import DramatiqOnRabbit
    from huey_cluster import HueyCluster
    from rabbit_server import RabbitNode, RabbitVhost
    from rq_cluster import RqCluster


def pytest_configure() -> None:
    """In the background or under nohup we ignore signals; what the tests start must not.

    A program inherits what is ignored, but not what is handled.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_LONG = {"crash", "soak", "conformance", "docs", "e2e"}
"""Folders with files that take minutes: begun last, they would be waited for alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first; the order of testers is the same, wherever each began."""
    items.sort(key=lambda item: (_LONG.isdisjoint(item.path.parts), item.path))


@pytest.fixture
def wait_until() -> Callable[..., object]:
    """:func:`bgtop.testing.wait_until`: poll a condition with a deadline; tests never sleep."""
    return _wait_until


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 nobody listens on."""
    return _free_port()


@pytest.fixture
def program() -> Callable[[str, str], str]:
    """``program("openssl", "apt-get install openssl")``: its path, or the test is skipped."""
    return _program


@pytest.fixture
def make_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """Start servers with options of their own: ``make_redis("--requirepass", "secret")``."""
    servers: list[RedisServer] = []

    def make(*options: str) -> RedisServer:
        server = RedisServer(tmp_path_factory.mktemp("redis"), *options)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def redis_server(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """One empty server, started for this test."""
    return make_redis()


@pytest.fixture(scope="session")
def rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """The node all tests share; who stops it starts it again."""
    from rabbit_server import RabbitNode

    node = RabbitNode(tmp_path_factory.mktemp("rabbit"))
    try:
        node.start()
        yield node
    finally:
        node.close()


@pytest.fixture
def rabbit(rabbit_node: RabbitNode) -> Iterator[RabbitVhost]:
    """An empty vhost of the shared node."""
    with rabbit_node.vhost() as vhost:
        yield vhost


@pytest.fixture
def make_celery(tmp_path: Path) -> Iterator[Callable[..., CeleryCluster]]:
    """Real Celery producers and workers: ``make_celery(redis_server.url, prefix="app:")``."""
    clusters: list[CeleryCluster] = []

    def make(url: str, prefix: str = "", **transport_options: object) -> CeleryCluster:
        clusters.append(
            open_cluster("celery", "CeleryCluster", url, tmp_path, prefix, **transport_options)
        )
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def celery(redis_server: RedisServer, make_celery: Callable[..., CeleryCluster]) -> CeleryCluster:
    """One application on :func:`redis_server`."""
    return make_celery(redis_server.url)


@pytest.fixture
def make_huey(tmp_path: Path) -> Iterator[Callable[..., HueyCluster]]:
    """Real Huey producers and consumers: ``make_huey("PriorityRedisHuey", redis_server.url)``."""
    clusters: list[HueyCluster] = []

    def make(kind: str, place: str) -> HueyCluster:
        clusters.append(open_cluster("huey", "HueyCluster", kind, place, tmp_path))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def make_dramatiq(tmp_path: Path) -> Iterator[Callable[..., DramatiqCluster]]:
    """Real Dramatiq producers and workers: ``make_dramatiq(redis_server.url, namespace="app")``."""
    clusters: list[DramatiqCluster] = []

    def make(url: str, namespace: str = "dramatiq") -> DramatiqCluster:
        clusters.append(open_cluster("dramatiq", "DramatiqCluster", url, tmp_path, namespace))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def dramatiq(
    redis_server: RedisServer, make_dramatiq: Callable[..., DramatiqCluster]
) -> DramatiqCluster:
    """One application on :func:`redis_server`."""
    return make_dramatiq(redis_server.url)


@pytest.fixture
def dramatiq_rabbit(rabbit: RabbitVhost, tmp_path: Path) -> Iterator[DramatiqOnRabbit]:
    """Real Dramatiq producers and workers in :func:`rabbit`."""
    from dramatiq_on_rabbit import DramatiqOnRabbit

    cluster = DramatiqOnRabbit(rabbit, tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def make_rq(tmp_path: Path) -> Iterator[Callable[[str], RqCluster]]:
    """Real RQ producers and workers: ``make_rq(redis_server.url)``."""
    clusters: list[RqCluster] = []

    def make(url: str) -> RqCluster:
        clusters.append(open_cluster("rq", "RqCluster", url, tmp_path))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def rq(redis_server: RedisServer, make_rq: Callable[[str], RqCluster]) -> RqCluster:
    """RQ on :func:`redis_server`."""
    return make_rq(redis_server.url)


@pytest.fixture
def make_arq(tmp_path: Path) -> Iterator[Callable[[str], ArqCluster]]:
    """Real arq producers and workers: ``make_arq(redis_server.url)``."""
    from arq_cluster import ArqCluster

    clusters: list[ArqCluster] = []

    def make(url: str) -> ArqCluster:
        clusters.append(ArqCluster(url, tmp_path))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def arq(redis_server: RedisServer, make_arq: Callable[[str], ArqCluster]) -> ArqCluster:
    """arq on :func:`redis_server`."""
    return make_arq(redis_server.url)
