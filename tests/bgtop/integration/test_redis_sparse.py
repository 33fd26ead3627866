"""Asking many names whose keys mostly do not exist: never another answer than by asking each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from hiredis import ReplyError

from bgtop.backends.redis_link import RedisLink
from bgtop.backends.redis_sparse import FEW, LOOKS_UNTIL_ABSENT, SparseKeys
from bgtop.backends.redis_url import parse_redis_url

MANY = [b"%d" % number for number in range(FEW + 500)]


@pytest.fixture
def link(redis_server) -> Iterator[RedisLink]:
    with closing(RedisLink(parse_redis_url(redis_server.url))) as link:
        yield link


def lengths_of(names) -> SparseKeys:
    return SparseKeys(names, lambda name: (name,), lambda name: (("LLEN", name),))


def look(link: RedisLink, keys: SparseKeys) -> dict[int, object]:
    link.ask((keys.requests(), keys.absorb))
    link.ask((keys.suspects(), keys.absorb_suspects))
    return dict(keys.answers)


def test_the_answers_are_those_of_asking_each(link: RedisLink, admin: redis.Redis) -> None:
    keys, chance, told = lengths_of(MANY), random.Random(7), {}
    truth: dict[int, int] = {}
    for _ in range(LOOKS_UNTIL_ABSENT + 30):
        for _ in range(chance.randrange(40)):
            place = chance.randrange(len(MANY)) if chance.random() < 0.5 else chance.randrange(30)
            if chance.random() < 0.5:
                truth[place] = admin.rpush(MANY[place], "job")
            else:
                admin.delete(MANY[place])
                truth.pop(place, None)

        assert look(link, keys) == truth
        for place, reply in keys.changes():
            if reply is None:
                del told[place]
            else:
                told[place] = reply
        assert told == truth


def test_what_does_not_exist_costs_a_hundredth(link: RedisLink, admin: redis.Redis) -> None:
    keys = lengths_of(MANY)
    admin.rpush(MANY[3], "job")
    first = look(link, keys)
    before = link.round_trips, link.commands
    second = look(link, keys)

    assert first == second == {3: 1}
    assert (link.round_trips - before[0], link.commands - before[1]) == (1, 1 + len(MANY) // 100)


def test_what_was_found_empty_for_long_is_absent_again(link: RedisLink, admin: redis.Redis) -> None:
    keys = lengths_of(MANY)
    admin.rpush(MANY[3], "job")
    look(link, keys)
    admin.delete(MANY[3])
    for _ in range(LOOKS_UNTIL_ABSENT + 2):
        assert look(link, keys) == {}
    before = link.commands
    look(link, keys)

    assert link.commands - before == len(MANY) // 100
    admin.rpush(MANY[3], "job")
    assert look(link, keys) == {3: 1}


def test_a_few_names_are_asked_at_once(link: RedisLink, admin: redis.Redis) -> None:
    keys = lengths_of(MANY[:FEW])
    admin.rpush(MANY[3], "job")
    link.ask((keys.requests(), keys.absorb))

    assert keys.answers == {3: 1}
    assert keys.suspects() == []


def test_a_refusal_is_told_at_each_look(link: RedisLink, admin: redis.Redis) -> None:
    keys = lengths_of(MANY)
    admin.set(MANY[3], "no list")
    for _ in range(3):
        look(link, keys)
        ((place, reply),) = keys.changes()
        assert place == 3
        assert isinstance(reply, ReplyError)


def test_where_exists_is_refused_each_is_asked(make_redis) -> None:
    server = make_redis("--user", "mon", "on", ">pw", "~1*", "~3", "+@read", "+@connection")
    url = f"redis://mon:pw@127.0.0.1:{server.port}/0"
    with redis.Redis(port=server.port) as admin, closing(RedisLink(parse_redis_url(url))) as link:
        admin.rpush(MANY[3], "job")
        answers = look(link, lengths_of(MANY))

    assert answers.pop(3) == 1
    assert all(isinstance(reply, ReplyError) for reply in answers.values())
    assert len(answers) == len([name for name in MANY if name[:1] != b"1"]) - 1


def test_a_change_is_told_though_the_poll_failed_after_it(
    link: RedisLink, admin: redis.Redis
) -> None:
    keys = lengths_of(MANY[:10])
    look(link, keys)
    admin.rpush(MANY[3], "job")
    look(link, keys)
    look(link, keys)

    assert list(keys.changes()) == [(3, 1)]
    assert list(keys.changes()) == []


def test_several_keys_and_questions_of_a_name(link: RedisLink, admin: redis.Redis) -> None:
    keys = SparseKeys(
        MANY,
        lambda name: (name, name + b":set"),
        lambda name: (("LLEN", name), ("SCARD", name + b":set")),
    )
    admin.sadd(MANY[7] + b":set", "a", "b")

    assert look(link, keys) == {7: [0, 2]}
