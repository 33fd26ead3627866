"""A Celery cluster at work, for monitors to watch: Redis, workers with ``-E``, and a load."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from background import program, redis_server

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url

_APP_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
_START_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """What monitors are pointed at; ``python`` is the interpreter that has Celery."""

    python: str
    port: int
    queues: tuple[str, ...]
    workers: tuple[str, ...]
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """The broker."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def celery(self) -> list[str]:
        """The beginning of a ``celery`` command; it has to run in ``folder``."""
        return [self.python, "-m", "celery", "-A", "celery_app"]

    @property
    def folder(self) -> str:
        """Where the application is."""
        return _APP_FOLDER


@contextmanager
def cluster(peers: str, *, workers: int, queues: int, rate: float) -> Iterator[Cluster]:
    """Start everything and wait until all workers listen; nothing is left at the end."""
    with ExitStack() as stack:
        port = stack.enter_context(redis_server())
        names = tuple(f"bench-{number:02d}" for number in range(queues))
        environment = {
            "BENCH_BROKER": f"redis://127.0.0.1:{port}/0",
            "BENCH_QUEUES": ",".join(names),
        }
        python = os.path.join(os.path.abspath(peers), "bin", "python")
        nodes = tuple(f"worker-{number:02d}@bench" for number in range(workers))
        here = Cluster(python, port, names, nodes, environment)
        for number, node in enumerate(nodes):
            served = ",".join(names[number::workers] or names)
            options = ["worker", "-n", node, "-P", "threads", "-c", "1", "-E", "-Q", served]
            stack.enter_context(
                program([*here.celery, *options, "-l", "ERROR"], environment, _APP_FOLDER)
            )
        _wait_for_workers(here)
        stack.enter_context(program([python, "celery_app.py", str(rate)], environment, _APP_FOLDER))
        yield here


def _wait_for_workers(here: Cluster) -> None:
    """Each worker announces its mailbox when it is ready for commands."""
    link = RedisLink(parse_redis_url(here.url))
    announced = pack(("SCARD", "_kombu.binding.celery.pidbox"))
    deadline = time.monotonic() + _START_WITHIN
    while link.exchange(announced) != [len(here.workers)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {len(here.workers)} workers started")
        time.sleep(0.2)
    link.close()


def writing_commands(here: Cluster) -> frozenset[str]:
    """The names of all commands that change something, by the server's own list."""
    return commands_that_write(here.port)


def commands_that_write(port: int) -> frozenset[str]:
    """The same for the server at this port."""
    link = RedisLink(parse_redis_url(f"redis://127.0.0.1:{port}/0"))
    (names,) = link.exchange(pack(("COMMAND", "LIST", "FILTERBY", "ACLCAT", "write")))
    link.close()
    found = names if isinstance(names, list) else []
    return frozenset({"PUBLISH"} | {n.decode().upper() for n in found if isinstance(n, bytes)})
