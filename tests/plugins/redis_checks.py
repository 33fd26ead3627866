"""What the tests of Redis share: a link, what an operator is told, and what a backend sends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import redis

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import BackendError

PASSWORD = "correct horse/#1"
QUOTED = "correct%20horse%2F%231"


@contextmanager
def linked(url: str, **limits: float) -> Iterator[RedisLink]:
    with closing(RedisLink(parse_redis_url(url), **limits)) as link:
        yield link


def refusal(url: str, **limits: float) -> BackendError:
    """The error of a PING there; its words are fit for an operator and hold no password."""
    with linked(url, **limits) as link, pytest.raises(BackendError) as failed:
        link.exchange(pack(("PING",)))
    words = str(failed.value)
    assert words.isprintable()
    assert PASSWORD not in words
    assert QUOTED not in words
    return failed.value


def check(error: BackendError, kind: type[BackendError], words: str) -> None:
    assert (type(error), str(error)) == (kind, words)


@contextmanager
def commands_of_bgtop(port: int) -> Iterator[set[str]]:
    """The names of all commands bgtop's connections send meanwhile, by the server's MONITOR."""
    names: set[str] = set()
    mine: set[str] = set()
    with redis.Redis(port=port) as admin, admin.monitor() as monitor:

        def watch() -> None:
            for entry in monitor.listen():
                words = entry["command"].split()
                address = f"{entry['client_address']}:{entry['client_port']}"
                if words[:3] == ["CLIENT", "SETNAME", "bgtop"]:
                    mine.add(address)
                if address in mine:
                    names.add(words[0].upper())
                if words == ["ECHO", "end"]:
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        yield names
        admin.echo("end")
        thread.join(10)
