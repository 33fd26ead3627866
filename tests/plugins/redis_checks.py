"""What the tests of the Redis connection share: a link, and what an operator is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

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
