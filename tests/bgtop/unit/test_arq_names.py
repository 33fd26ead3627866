"""Which keys of a database are taken for queues of arq, by the server's answers."""

from __future__ import annotations

from bgtop.backends.arq.names import (
    MOST_QUEUES,
    SECONDS_UNTIL_ANOTHER_LOOK,
    SUSPECTS_PER_POLL,
    Names,
)
from bgtop.backends.redis_search import SECONDS_BETWEEN_SMALL_PASSES

REPORT = b"Nov-21 04:11:17 j_complete=1 j_failed=0 j_retried=0 j_ongoing=0 queued=0"


def search(names: Names, sorted_sets: list[bytes], checks: list[bytes], now: float) -> None:
    """One pass over a small database."""
    names.requests(now)
    names.absorb([len(sorted_sets), [b"0", sorted_sets]], now)
    names.requests(now)
    names.absorb([[b"0", checks]], now)


def look(names: Names, now: float, *, card: int = 1, jobs: int = 0) -> int:
    """What was found is looked at; how many commands that took in the first trip."""
    asked = sum(request.replies for request in names.sizes())
    count = 2 * len(names._asked)
    checks = [REPORT] * (asked - count)
    names.absorb_sizes([card, 100] * (count // 2) + checks, now)
    names.absorb_first_ids([[b"id"] for _ in names.first_ids() for _ in names._ids])
    names.absorb_proofs([jobs for _ in names.proofs() for _ in names._ids])
    return asked


def test_our_names_are_known_at_once_and_others_when_their_members_are_jobs() -> None:
    names = Names([b"named"])
    search(names, [b"arq:queue", b"arq:abort", b"mail"], [], 0)
    before = [*names.known]
    look(names, 0, jobs=1)

    assert before == [b"named", b"arq:queue"]
    assert [*names.known] == [b"named", b"arq:queue", b"mail"]
    assert names.settled


def test_what_is_no_queue_is_passed_over_for_a_while() -> None:
    names = Names([])
    search(names, [b"leaderboard"], [], 0)
    first = look(names, 0)
    search(names, [b"leaderboard"], [], SECONDS_BETWEEN_SMALL_PASSES)
    second = look(names, SECONDS_BETWEEN_SMALL_PASSES)
    later = SECONDS_UNTIL_ANOTHER_LOOK + 1
    search(names, [b"leaderboard"], [], later)
    third = look(names, later, jobs=1)

    assert (first, second, third) == (2, 0, 2)
    assert [*names.known] == [b"leaderboard"]


def test_a_health_check_names_its_queue() -> None:
    names = Names([])
    search(names, [], [b"mail:health-check", b":health-check"], 0)
    look(names, 0)

    assert [*names.known] == [b"mail"]


def test_a_poll_looks_at_some_and_the_rest_waits() -> None:
    names = Names([])
    search(names, [b"set-%d" % number for number in range(SUSPECTS_PER_POLL + 1)], [], 0)
    first = look(names, 0)
    settled = names.settled
    second = look(names, 0)

    assert (first, settled, second) == (2 * SUSPECTS_PER_POLL, False, 2)
    assert names.settled


def test_an_answer_that_did_not_come_asks_nothing_more() -> None:
    names = Names([])
    search(names, [b"mail"], [], 0)
    names.sizes()
    names.absorb_sizes([1, 100], 0)
    names.first_ids()

    assert names.proofs() == []


def test_there_is_an_end_to_names() -> None:
    names = Names([])
    names.learn(b"%d" % number for number in range(MOST_QUEUES + 1))

    assert len(names.known) == MOST_QUEUES
    assert names.full
