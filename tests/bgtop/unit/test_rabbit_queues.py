"""Which job system a queue of RabbitMQ belongs to, from names and properties alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.rabbit_queues import (
    ListedQueue,
    holds_delayed_tasks,
    is_celerys_own,
    listed_queue,
    mailbox_of,
    node_of,
    systems_of,
)


def systems(*queues: ListedQueue | str) -> dict[str, str | None]:
    return systems_of(q if isinstance(q, ListedQueue) else ListedQueue(q) for q in queues)


def test_queues_of_two_systems_in_one_vhost_are_told_apart() -> None:
    found = systems(
        *("mail", "w1@h.celery.pidbox", "celeryev.5e", "celery_delayed_27"),
        *(ListedQueue("video", dead_letters_to="video.XQ"), "video.DQ", "video.XQ"),
        *(ListedQueue("c0ffee", exclusive=True), "amq.gen-x", "bgtop.1"),
        ListedQueue("f579883f-e361-3a39-afdf-fabb537a1227", expires=True),
        "a579883f-e361-3a39-afdf-fabb537a1227",
    )

    assert found == {
        "mail": "celery",
        "w1@h.celery.pidbox": "celery",
        "celeryev.5e": "celery",
        "celery_delayed_27": "celery",
        "video": "dramatiq",
        "video.DQ": "dramatiq",
        "video.XQ": "dramatiq",
        "c0ffee": None,
        "amq.gen-x": None,
        "bgtop.1": None,
        "f579883f-e361-3a39-afdf-fabb537a1227": None,
        "a579883f-e361-3a39-afdf-fabb537a1227": "celery",
    }


def test_without_any_sign_of_celery_a_plain_queue_is_nobodys() -> None:
    assert systems("mail", "push") == {"mail": None, "push": None}
    assert systems("mail", "celery") == {"mail": "celery", "celery": "celery"}


def test_names_alone_make_no_dramatiq_where_dead_letters_go_elsewhere() -> None:
    assert systems(ListedQueue("a", dead_letters_to="b"), "a.DQ", "a.XQ")["a"] is None
    assert systems("a", "a.DQ", "a.XQ")["a"] == "dramatiq"
    assert systems("a", "a.DQ")["a"] is None


@pytest.mark.parametrize(
    ("queue", "node"),
    [
        ("w1@h.celery.pidbox", "w1@h"),
        ("celery@h.example.com.celery.pidbox", "celery@h.example.com"),
        ("w1@h.control.pidbox", "w1@h"),
        ("a\nb@h.celery.pidbox", "a\nb@h"),
        ("0c7a.reply.celery.pidbox", None),
        (".celery.pidbox", None),
        ("mail", None),
    ],
)
def test_whose_mailbox_a_queue_is(queue: str, node: str | None) -> None:
    assert node_of(queue) == node


@given(st.text(min_size=1).filter(lambda node: not node.endswith(".reply")))
def test_every_node_finds_its_mailbox(node: str) -> None:
    assert node_of(mailbox_of(node)) == node
    assert is_celerys_own(mailbox_of(node))


@pytest.mark.parametrize("name", ["celery_delayed_0", "celery_delayed_27", "shop_celery_delayed_3"])
def test_queues_of_delayed_tasks(name: str) -> None:
    assert holds_delayed_tasks(name)


@pytest.mark.parametrize(
    "name", ["celery_delayed", "celery_delayed_", "celery_delayed_x", "xcelery_delayed_1"]
)
def test_queues_that_only_look_like_it(name: str) -> None:
    assert not holds_delayed_tasks(name)


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"name": "a", "state": "running"}, True),
        ({"name": "a"}, True),
        ({"name": "a", "state": "flow"}, True),
        ({"name": "a", "state": "down"}, False),
        ({"name": "a", "state": "stopped"}, False),
        ({"name": "a", "exclusive": True}, False),
        ({"name": "a", "exclusive": None}, True),
        ({"name": "a\ufffd"}, False),
    ],
)
def test_only_what_can_answer_is_asked(row: dict, asked: bool) -> None:
    queue = listed_queue(row)

    assert queue is not None
    assert queue.can_be_asked is asked


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["name", "exclusive", "arguments", "state", "messages_ready", "messages_unacknowledged"]
)


@given(st.dictionaries(KEYS, JSON))
def test_a_row_of_wrong_types_is_read_as_far_as_it_goes(row: dict) -> None:
    queue = listed_queue(row)

    assert (queue is None) == (not isinstance(row.get("name"), str) or not row["name"])
    if queue is not None:
        for count in (queue.ready, queue.unacked):
            assert count is None or (type(count) is int and count >= 0)
        assert systems_of([queue]).keys() == {queue.name}
