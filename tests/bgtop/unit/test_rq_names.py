"""The search for queues nobody announced: in steps, with pauses, and it forgets."""

from __future__ import annotations

import pytest
from hiredis import ReplyError

from bgtop.backends.redis_search import KEYS_PER_SCAN, SECONDS_BETWEEN_PASSES
from bgtop.backends.rq.names import Search, queue_of_key


@pytest.mark.parametrize(
    ("key", "queue"),
    [
        (b"rq:queue:mail", b"mail"),
        (b"rq:queue:a:b", b"a:b"),
        (b"rq:queue:mail:intermediate", None),
        (b"rq:wip:mail:intermediate", b"mail:intermediate"),
        (b"rq:deferred:mail", b"mail"),
        (b"rq:scheduled:mail", b"mail"),
        (b"rq:workers:mail", b"mail"),
        (b"rq:worker:w1", None),
        (b"rq:scheduler:scheduled_jobs", None),
        (b"rq:queue:", None),
    ],
)
def test_a_key_tells_its_queue(key, queue) -> None:
    assert queue_of_key(key) == queue


def step(search: Search, tick: float, cursor: bytes, *keys: bytes) -> list[str]:
    commands = search.commands(tick)
    scan = [cursor, [*keys]]
    search.learn([10_000, scan] if len(commands) == 2 else [scan] if commands else [], tick)
    return [str(command[0]) for command in commands]


def test_a_pass_goes_on_where_it_was_and_pauses_at_its_end() -> None:
    search = Search()

    assert step(search, 0, b"5", b"rq:wip:a") == ["DBSIZE", "SCAN"]
    assert not search.complete
    assert search.commands(1) == [("SCAN", b"5", "MATCH", b"rq:[dqsw]*:*", "COUNT", KEYS_PER_SCAN)]
    assert step(search, 1, b"0", b"rq:wip:b") == ["SCAN"]
    assert search.complete
    assert set(search.found) == {b"a", b"b"}
    assert step(search, 2, b"0") == []
    assert step(search, SECONDS_BETWEEN_PASSES, b"0") == []
    assert step(search, 1 + SECONDS_BETWEEN_PASSES, b"0") == ["DBSIZE", "SCAN"]


def test_what_a_whole_pass_does_not_find_is_forgotten() -> None:
    search = Search()
    step(search, 0, b"0", b"rq:wip:a", b"rq:wip:b")
    step(search, 100, b"9", b"rq:wip:b")

    assert set(search.found) == {b"a", b"b"}
    step(search, 100, b"0")
    assert set(search.found) == {b"b"}


def test_where_keys_may_not_be_listed_it_asks_again_later() -> None:
    search = Search()
    search.commands(0)
    search.learn([10_000, ReplyError("NOPERM no")], 0)

    assert search.complete
    assert search.refusal is not None
    assert search.commands(1) == []
    step(search, 100, b"0")
    assert search.refusal is None


def test_a_lost_connection_begins_anew() -> None:
    search = Search()
    step(search, 0, b"5")
    search.start_over()

    assert search.commands(0)[-1][1] == b"0"
