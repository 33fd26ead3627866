"""Unacknowledged messages, told apart by queue only when every one of them is known."""

from __future__ import annotations

from collections import Counter
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from repeated import EXAMPLES

from bgtop.backends.celery import deliveries as module
from bgtop.backends.celery.catalog import Catalog
from bgtop.backends.celery.deliveries import Deliveries, Split

QUEUES = (b"mail", b"video")


class Unacked:
    """What Redis would answer, from two dictionaries that change between the round trips."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.index: dict[bytes, None] = {}

    def add(self, tag: bytes, queue: bytes, size: int = 0) -> None:
        self.entries[tag] = b'["' + b"x" * size + b'", "", "' + queue + b'"]'
        self.index[tag] = None

    def remove(self, tag: bytes) -> None:
        self.entries.pop(tag, None)
        self.index.pop(tag, None)

    def look(self, reader: Deliveries, between=lambda: None) -> Split:
        replies = [len(self.entries), list(self.index)[: module.MOST_ENTRIES]]
        reader.absorb(replies[: len(reader.requests())])
        between()
        if reader.sizes():
            reader.absorb_sizes([len(self.entries.get(tag, b"")) for tag in reader._new])
        between()
        if reader.entries():
            reader.absorb_entries([[self.entries.get(tag) for tag in reader._wanted]])
        return reader.split()


def reader() -> Deliveries:
    return Deliveries(b"", Catalog())


changes = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 12), st.sampled_from(QUEUES)),
    max_size=6,
)


@settings(max_examples=2 * EXAMPLES)
@given(polls=st.lists(st.tuples(changes, changes, changes), min_size=1, max_size=6))
def test_the_split_always_sums_up_and_is_exact_when_nothing_moves(polls) -> None:
    server, deliveries = Unacked(), reader()

    def apply(steps) -> None:
        for verb, number, queue in steps:
            tag = b"tag%d" % number
            # A tag is never given to another message.
            if verb == "add" and tag not in server.entries:
                server.add(tag + b"@%d" % len(seen), queue)
                seen.append(tag)
            elif verb == "remove" and server.entries:
                server.remove(sorted(server.entries)[number % len(server.entries)])

    seen: list[bytes] = []
    for before, *during in polls:
        apply(before)
        moving = map(apply, during)
        split = server.look(deliveries, partial(next, moving))

        assert split.total is not None
        assert split.total >= 0
        assert split.by_queue is not None
        assert sum(split.by_queue.values()) == split.total
    exact = server.look(deliveries)
    truth = Counter(
        b"mail" if b'"mail"' in entry else b"video" for entry in server.entries.values()
    )
    assert exact == Split(len(server.entries), dict(truth))


def test_an_entry_is_fetched_once() -> None:
    server, deliveries = Unacked(), reader()
    server.add(b"t1", b"mail")
    server.look(deliveries)
    server.add(b"t2", b"video")
    deliveries.absorb([2, [b"t1", b"t2"]])

    assert [request.replies for request in deliveries.sizes()] == [1]
    deliveries.absorb_sizes([20])
    assert b"t1" not in deliveries.entries()[0].payload


def test_large_entries_are_spread_over_polls() -> None:
    server, deliveries = Unacked(), reader()
    for number in range(10):
        server.add(b"t%d" % number, b"mail", size=200_000)
    first, second = server.look(deliveries), server.look(deliveries)

    assert (first.total, first.by_queue, first.pending) == (10, None, True)
    assert (second.total, second.by_queue, second.pending) == (10, {b"mail": 10}, False)


def test_an_entry_too_large_is_told_and_not_asked_for_again() -> None:
    server, deliveries = Unacked(), reader()
    server.add(b"t1", b"mail", size=module.LARGEST_ENTRY)
    server.add(b"t2", b"mail")
    split = server.look(deliveries)

    assert (split.total, split.by_queue, split.pending) == (2, None, False)
    assert split.reason == "1 unacknowledged messages are too large or of no single queue"
    assert server.look(deliveries) == split
    assert deliveries.sizes() == []


def test_an_index_that_lags_behind_is_no_truth() -> None:
    """Entries without a tag cannot be told apart; tags without an entry do not matter."""
    server, deliveries = Unacked(), reader()
    server.add(b"t1", b"mail")
    server.index[b"orphan"] = None
    orphan = server.look(deliveries)
    server.entries[b"untagged"] = b'[{}, "", "mail"]'
    server.index.pop(b"orphan")
    untagged = server.look(deliveries)

    assert orphan == Split(1, {b"mail": 1})
    assert untagged == Split(2, None, "unacked and unacked_index do not agree")


def test_when_many_become_few_the_split_comes_back() -> None:
    server, deliveries = Unacked(), reader()
    for number in range(module.MOST_ENTRIES + 1):
        server.add(b"t%d" % number, b"mail")
    many = server.look(deliveries)
    assert len(deliveries.requests()) == 1
    server.remove(b"t0")
    between = server.look(deliveries)

    assert (many.total, many.by_queue, many.pending) == (module.MOST_ENTRIES + 1, None, False)
    assert (between.by_queue, between.reason, between.pending) == (None, None, True)
    assert server.look(deliveries).by_queue == {b"mail": module.MOST_ENTRIES}


def test_a_key_of_another_type_has_no_total() -> None:
    from hiredis import ReplyError

    deliveries = reader()
    deliveries.absorb([ReplyError("WRONGTYPE"), []])

    assert deliveries.split() == Split(None, None, "the key 'unacked' cannot be read")
