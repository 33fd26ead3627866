"""What is made of queues that may not be asked for, as on RabbitMQ 4.3.

On a real one the suites run by ``make compat ONLY=rabbitmq-4.3``.
"""

from __future__ import annotations

from typing import Any

import pytest

from bgtop.backends.rabbit_channels import Refused, Size
from bgtop.backends.rabbit_link import Sizes, can_be
from bgtop.backends.rabbit_queues import ListedQueue
from bgtop.backends.rabbit_url import parse_rabbit_url
from bgtop.backends.rabbit_watch import SeenQueue, Watch
from bgtop.contracts import NotPermitted, Settings

FORBIDDEN = Refused(403, "ACCESS_REFUSED")
MISSING = Refused(404, "NOT_FOUND")


class Link:
    """Answers from ``rights``: the queues that are there and may be asked for."""

    def __init__(self) -> None:
        self.rights: dict[str, Size] = {}
        self.asked: list[str] = []
        self.logins = 1
        self.round_trips = self.commands = 0

    def knock(self) -> None: ...

    def close(self) -> None: ...

    def sizes(self, known: Any, doubtful: Any = ()) -> Sizes:
        sizes = Sizes({}, {})
        for name in (*known, *doubtful):
            self.asked.append(name)
            if name in self.rights:
                sizes.found[name] = self.rights[name]
            else:
                sizes.refused[name] = FORBIDDEN
                if name in known:
                    break
        return sizes


class Management:
    """The API of a vhost with two queues, one of which has consumers."""

    class address:  # noqa: N801  # an attribute of the real one
        guessed = False

    requests = 0
    tagged = True

    def close(self) -> None: ...

    def queues(self) -> list[dict[str, Any]]:
        return [
            {"name": "mail", "messages_ready": 7, "messages_unacknowledged": 1},
            {"name": "push", "messages_ready": 2, "messages_unacknowledged": 0},
            {"name": "w1.celery.pidbox", "exclusive": True},
        ]

    def nodes(self) -> list[dict[str, Any]]:
        if not self.tagged:
            raise NotPermitted("it lacks the tag 'monitoring'")
        return []

    def consumers(self) -> list[dict[str, Any]]:
        return [{"queue": {"name": "mail"}}] * 3


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    link = Link()
    monkeypatch.setattr("bgtop.backends.rabbit_watch.RabbitLink", lambda *_, **__: link)
    monkeypatch.setattr(
        "bgtop.backends.rabbit_watch._management",
        lambda address, _: address.management and Management(),
    )
    return link


def watch(more: str) -> Watch:
    return Watch(parse_rabbit_url(f"amqp://mon:pw@h/?{more}"), Settings())


def chosen(queues: list[ListedQueue]) -> list[ListedQueue]:
    return [queue for queue in queues if not queue.exclusive]


def test_the_api_tells_what_may_not_be_asked_for(link: Link) -> None:
    watched = watch("management=http://h:1")
    first = watched.look(0.0, chosen)
    for tick in range(1, 50):
        look = watched.look(float(tick), chosen)

    expected = (
        SeenQueue("mail", ready=7, unacked=1, consumers=3),
        SeenQueue("push", ready=2, unacked=0, consumers=0),
    )
    assert first.queues == look.queues == expected
    assert look.warnings == ()
    assert link.asked == ["mail"]


def test_who_does_not_see_all_consumers_counts_none(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Management, "tagged", False)
    look = watch("management=http://h:1").look(0.0, chosen)

    assert link.asked == ["mail"]
    assert [(queue.ready, queue.consumers) for queue in look.queues] == [(7, None), (2, None)]


def test_a_new_login_may_have_new_rights(link: Link) -> None:
    watched = watch("management=http://h:1")
    watched.look(0.0, chosen)
    link.rights = {"mail": Size(8, 4), "push": Size(3, 1)}
    assert watched.look(1.0, chosen).queues[0].ready == 7

    link.logins += 1
    watched.look(2.0, chosen)
    look = watched.look(3.0, chosen)

    assert [(queue.ready, queue.consumers) for queue in look.queues] == [(8, 4), (3, 1)]


def test_without_the_api_it_is_said_what_right_is_missing(link: Link) -> None:
    watched = watch("management=off&queues=mail,push")
    link.rights = {"push": Size(3, 1)}
    for tick in range(200):
        look = watched.look(float(tick), chosen)

    assert look.queues == (SeenQueue("push", ready=3, unacked=None, consumers=1),)
    assert look.warnings[1] == (
        "since RabbitMQ 4.3 user 'mon' needs the right to read the queue 'mail' to ask for it, "
        "or the management API"
    )
    assert len(look.warnings) == 2
    # Tried again ever more seldom: each refusal is an error in the log of the broker.
    assert link.asked.count("mail") < 12


def test_a_list_knows_better_what_is_not_there(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Management) -> list[dict[str, Any]]:
        raise NotPermitted("not now")

    watched = watch("management=http://h:1&queues=gone")
    with monkeypatch.context() as patched:
        patched.setattr(Management, "queues", refuse)
        assert "the right to read the queue 'gone'" in watched.look(0.0, chosen).warnings[-1]

    assert watched.look(10.0, chosen).warnings == ("there is no queue 'gone'",)


def test_a_mailbox_that_is_forbidden_proves_nothing(link: Link) -> None:
    watched = watch("management=off&queues=push")
    link.rights = {"push": Size(3, 1)}
    mailbox = "w1@h.celery.pidbox"
    looks = [watched.look(float(tick), chosen, [mailbox]) for tick in range(5)]

    assert all(look.missing == look.tried == frozenset() for look in looks)
    assert link.asked.count(mailbox) == 1


@pytest.mark.parametrize(
    ("name", "version", "possible"),
    [
        ("mail", "4.3.6", True),
        ("x" * 256, "3.10.0", False),
        ("é" * 128, "4.3.6", False),
        ("bad\udcff", "3.10.8", True),
        ("bad\udcff", "4.0.5", True),
        ("bad\udcff", "4.3.6", False),
        ("bad\udcff", None, False),
        ("bad\udcff", "unknown", False),
    ],
)
def test_names_a_broker_can_have(name: str, version: str | None, possible: bool) -> None:
    assert can_be(name, version) is possible
