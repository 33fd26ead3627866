"""Messages of a real server, the right to hear them, and silence."""

from __future__ import annotations

import signal
import time
from contextlib import closing

import pytest
import redis
from hiredis import ReplyError

from bgtop.backends import redis_link
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import RedisSubscription
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import Unreachable


@pytest.fixture
def subscription(redis_server):
    address = parse_redis_url(redis_server.url)
    with closing(RedisSubscription(address, read_timeout=0.3)) as subscription:
        yield subscription


def test_messages_arrive_in_order_and_once(redis_server, subscription, wait_until) -> None:
    assert subscription.subscribe(b"a*") is None
    assert subscription.messages() == []
    with redis.Redis(port=redis_server.port) as publisher:
        for number in range(500):
            publisher.publish(f"a{number % 2}", f"message {number}")
        publisher.publish("b", "not for us")
        # What comes while another pattern is confirmed is kept.
        assert subscription.subscribe(b"c*") is None
        publisher.publish("c", "last")
    received: list[tuple[bytes, bytes]] = []

    def all_there() -> bool:
        received.extend(subscription.messages(timeout=0.1))
        return len(received) >= 501

    wait_until(all_there)
    expected = [(b"a%d" % (n % 2), b"message %d" % n) for n in range(500)]
    assert received == [*expected, (b"c", b"last")]
    assert subscription.messages() == []


def test_waiting_for_a_message_ends(subscription) -> None:
    subscription.subscribe(b"a*")
    began = time.monotonic()

    assert subscription.messages(timeout=0.2) == []
    assert 0.15 < time.monotonic() - began < 1


def test_a_pattern_may_be_refused(make_redis) -> None:
    server = make_redis(
        "--user", "mon", "on", ">hunter2", "resetchannels", "&news*", "+@connection", "+psubscribe"
    )
    address = parse_redis_url(f"redis://mon:hunter2@127.0.0.1:{server.port}/0")
    with closing(RedisSubscription(address)) as subscription:
        refused = subscription.subscribe(b"news/*")
        assert isinstance(refused, ReplyError)
        assert code_of(refused) == "NOPERM"
        assert subscription.subscribe(b"news*") is None


def test_a_lost_subscription_says_so_once_and_can_be_renewed(redis_server, subscription) -> None:
    subscription.subscribe(b"a*")
    redis_server.stop()
    with pytest.raises(Unreachable, match="closed the connection"):
        subscription.messages()
    assert not subscription.connected
    redis_server.start()
    subscription.subscribe(b"a*")

    assert subscription.messages() == []


def test_silence_is_questioned(redis_server, subscription, wait_until, monkeypatch) -> None:
    """A frozen server or a dead network is told apart from having nothing to say."""
    monkeypatch.setattr(redis_link, "SILENCE_BEFORE_PING", 0.05)
    subscription.subscribe(b"a*")
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert subscription.messages(timeout=0.05) == []
    assert subscription.commands > 3
    redis_server.send_signal(signal.SIGSTOP)

    def fails() -> bool:
        try:
            subscription.messages(timeout=0.05)
        except Unreachable as error:
            return "no answer from" in str(error)
        return False

    wait_until(fails, seconds=3)
    assert not subscription.connected
