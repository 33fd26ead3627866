"""What discovery makes of the bindings it reads."""

from __future__ import annotations

from hiredis import ReplyError

from bgtop.backends.celery import catalog as module
from bgtop.backends.celery.catalog import Catalog, Queue, split_binding_key
from bgtop.backends.celery.discovery import Discovery
from bgtop.backends.celery.wire import SEPARATOR
from bgtop.backends.redis_search import KEYS_PER_SCAN, SECONDS_BETWEEN_PASSES

BIND = b"_kombu.binding."


def binding(queue: str, routing_key: str | None = None, pattern: str = "") -> bytes:
    key = queue if routing_key is None else routing_key
    return SEPARATOR.join(part.encode() for part in (key, pattern, queue))


def catalog_of(**sets: list[bytes]) -> Catalog:
    catalog = Catalog()
    for exchange, members in sets.items():
        catalog.learn_bindings(BIND + exchange.encode(), members)
    return catalog


def names(catalog: Catalog) -> list[str]:
    return sorted(catalog.labels(catalog.queues.values()).values())


def test_queues_are_named_by_the_third_field_not_by_the_key() -> None:
    catalog = catalog_of(tx=[binding("tq", "a.#", r"^a\..*?$")], mail=[binding("mail")])

    assert names(catalog) == ["mail", "tq"]


def test_nodes_are_the_owners_of_mailboxes() -> None:
    catalog = Catalog()
    members = [binding(f"w{number}@h.celery.pidbox", "") for number in (1, 2)]
    catalog.learn_bindings(BIND + b"celery.pidbox", members)

    assert catalog.nodes == {b"": {"w1@h", "w2@h"}}
    assert all(queue.internal for queue in catalog.queues.values())
    catalog.learn_bindings(BIND + b"celery.pidbox", members[1:])
    assert catalog.nodes == {b"": {"w2@h"}}
    catalog.learn_bindings(BIND + b"celery.pidbox", [])
    assert catalog.nodes == {b"": set()}


def test_a_binding_knows_the_separator_better_than_a_message() -> None:
    catalog = Catalog()
    catalog.learn_queue(Queue(b"", b"mail", SEPARATOR))
    before = catalog.version
    catalog.learn_bindings(BIND + b"mail", [b"mail::mail"])

    assert catalog.queues[b"mail"].list_of(3) == b"mail:3"
    assert catalog.version == before + 1
    catalog.learn_queue(Queue(b"", b"mail", SEPARATOR))
    catalog.learn_bindings(BIND + b"mail", [b"mail::mail"])
    assert catalog.queues[b"mail"].separator == b":"
    assert catalog.version == before + 1


def test_prefixes_are_a_part_of_names_only_when_there_are_several() -> None:
    catalog = Catalog()
    catalog.learn_bindings(b"shop:" + BIND + b"mail", [binding("mail")])
    alone = names(catalog)
    catalog.learn_bindings(b"blog:" + BIND + b"mail", [binding("mail")])

    assert alone == ["mail"]
    assert names(catalog) == ["blog:mail", "shop:mail"]
    assert catalog.prefixes == (b"", b"shop:", b"blog:")


def test_a_prefix_lives_as_long_as_its_queues() -> None:
    catalog = Catalog()
    catalog.learn_bindings(b"shop:" + BIND + b"mail", [binding("mail")])
    catalog.learn_bindings(b"shop:" + BIND + b"mail", [])
    catalog.end_pass([])
    catalog.end_pass([b"shop:mail"])
    kept = catalog.prefixes
    catalog.end_pass([])
    catalog.end_pass([])

    assert (kept, catalog.prefixes) == ((b"", b"shop:"), (b"",))
    # A delivery read late may name it again.
    catalog.learn_queue(Queue(b"shop:", b"mail", SEPARATOR))
    assert catalog.prefixes == (b"", b"shop:")


def test_queues_and_prefixes_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_QUEUES", 4)
    monkeypatch.setattr(module, "MOST_PREFIXES", 3)
    catalog = catalog_of(a=[binding("a")])
    for number in range(5):
        catalog.learn_bindings(b"p%d:" % number + BIND + b"q", [binding("q")])
    assert catalog.prefixes == (b"", b"p0:", b"p1:")
    catalog.learn_bindings(BIND + b"b", [binding("b"), binding("c")])

    assert names(catalog) == ["a", "b", "p0:q", "p1:q"]
    assert catalog.full


def test_names_that_read_alike_stay_apart() -> None:
    catalog = Catalog()
    for raw in (b"\xff", b"\\xff"):
        catalog.learn_bindings(BIND + raw, [raw + SEPARATOR + SEPARATOR + raw])

    assert names(catalog) == ["\\xff", "\\xff'"]


def test_a_delivery_belongs_to_the_queue_its_route_leads_to() -> None:
    catalog = catalog_of(
        mail=[binding("mail")],
        news=[
            binding("sport", "sport.#", "p"),
            binding("all", "#", "p"),
            binding("uk", "uk.*", "p"),
        ],
    )

    def queue_of(exchange: bytes, routing_key: bytes) -> bytes | None:
        queue = catalog.queue_of(b"", exchange, routing_key)
        return None if queue is None else queue.name

    assert queue_of(b"", b"mail") == b"mail"
    assert queue_of(b"", b"never.declared") == b"never.declared"
    assert queue_of(b"mail", b"mail") == b"mail"
    assert queue_of(b"mail", b"other") is None
    assert queue_of(b"unknown", b"mail") is None
    assert queue_of(b"news", b"fr.x") == b"all"
    # Two queues got a copy: the delivery may be of either.
    assert queue_of(b"news", b"sport.golf") is None


def test_a_queue_is_forgotten_when_nothing_named_it_for_two_passes() -> None:
    catalog = catalog_of(mail=[binding("mail")], gone=[binding("gone")])
    catalog.learn_bindings(BIND + b"gone", [])
    catalog.learn_queue(Queue(b"", b"unannounced", SEPARATOR))
    catalog.end_pass([])
    after_one = names(catalog)
    catalog.end_pass([b"unannounced"])
    after_two = names(catalog)
    catalog.end_pass([])
    catalog.end_pass([])

    assert after_one == ["gone", "mail", "unannounced"]
    assert after_two == ["mail", "unannounced"]
    assert names(catalog) == ["mail"]


def test_the_version_tells_whether_queues_changed() -> None:
    catalog = catalog_of(mail=[binding("mail")])
    before = catalog.version
    catalog.learn_bindings(BIND + b"mail", [binding("mail")])
    catalog.end_pass([])

    assert catalog.version == before
    catalog.learn_bindings(BIND + b"mail", [binding("mail"), binding("more")])
    assert catalog.version > before


def test_bindings_in_an_unknown_form_are_counted() -> None:
    catalog = catalog_of(mail=[binding("mail"), b"what?"])
    again = catalog.unread
    catalog.learn_bindings(BIND + b"mail", [binding("mail")])

    assert (again, catalog.unread) == (1, 0)


# Discovery, step by step


def found(discovery: Discovery, now: float, scan: object, **sets: list[bytes]) -> list[str]:
    """One round trip to a database of 10,000 keys; the names of the commands asked."""
    commands = discovery.commands(now)
    answers = {"DBSIZE": lambda _: 10_000, "SCAN": lambda _: scan}
    answers["SMEMBERS"] = lambda key: sets.get(split_binding_key(key)[1].decode(), [])
    discovery.absorb([answers[command[0]](command[-1]) for command in commands], now, set)
    return [str(command[0]) for command in commands]


def test_a_failed_round_trip_loses_nothing() -> None:
    discovery = Discovery(Catalog())
    first = discovery.commands(0.0)
    again = discovery.commands(0.0)

    assert first.count(("DBSIZE",)) == 1
    assert again == [command for command in first if command[0] != "DBSIZE"]


def test_passes_repeat_and_a_refused_one_does_not_hang() -> None:
    discovery = Discovery(Catalog())
    refusal = ReplyError("NOPERM this user has no permissions")
    assert found(discovery, 0.0, refusal) == ["SMEMBERS", "SMEMBERS", "DBSIZE", "SCAN"]
    assert discovery.complete
    assert discovery.search.refusal is refusal
    assert found(discovery, SECONDS_BETWEEN_PASSES - 1, refusal) == []

    later = SECONDS_BETWEEN_PASSES + 1
    first = found(discovery, later, [b"0", [BIND + b"mail"]])
    second = found(discovery, later, [b"0", []], mail=[binding("mail")])

    assert (first, second) == (["SMEMBERS", "DBSIZE", "SCAN"], ["SMEMBERS", "SCAN"])
    assert discovery.search.refusal is None
    assert b"mail" in discovery.catalog.queues
    assert found(discovery, later + 1, [b"0", []]) == []


def test_a_long_pass_goes_on_where_it_was() -> None:
    discovery = Discovery(Catalog())
    found(discovery, 0.0, [b"17", []])
    assert discovery.commands(0.0)[-1][:2] == ("SCAN", b"17")
    found(discovery, 0.0, [b"42", []])

    assert discovery.commands(0.0)[-1][:2] == ("SCAN", b"42")
    assert (discovery.search.scanned, discovery.complete) == (2 * KEYS_PER_SCAN, False)


def test_a_set_that_is_gone_is_asked_once_more() -> None:
    """Whether its queues still exist, only its members can say."""
    discovery = Discovery(Catalog())
    found(discovery, 0.0, [b"0", [BIND + b"mail"]])
    found(discovery, 0.0, [b"0", []], mail=[binding("mail")])
    later = 2 * SECONDS_BETWEEN_PASSES
    found(discovery, later, [b"0", []])

    assert ("SMEMBERS", BIND + b"mail") in discovery.commands(later)


def test_a_priority_list_of_an_unannounced_queue_names_it() -> None:
    catalog = Catalog()
    catalog.learn_bindings(b"shop:" + BIND + b"mail", [binding("mail")])
    discovery = Discovery(catalog)
    found(discovery, 0.0, [b"0", []])
    lists = [b"foreign" + SEPARATOR + b"3", b"shop:foreign" + SEPARATOR + b"9", SEPARATOR + b"1"]
    found(discovery, 0.0, [b"0", lists])

    assert names(catalog) == ["foreign", "shop:foreign", "shop:mail"]
