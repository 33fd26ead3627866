"""Who is alive, from what workers say and when it can have arrived."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.celery import roster as rosters
from bgtop.backends.celery.roster import FORGET_AFTER, Roster
from bgtop.backends.celery.wire import WorkerEvent
from bgtop.model import WorkerState

T = 1_795_250_000.0


def event(kind: str = "heartbeat", node: str = "w1@h", timestamp: float | None = T, **fields):
    known = {"active": 1, "processed": 10, "pid": 77, "version": "5.7.0"}
    return WorkerEvent(kind, node, timestamp, **(known | fields))


def rows(roster: Roster, silent: WorkerState = WorkerState.UNKNOWN) -> dict:
    return {worker.name: worker for worker in roster.readings(silent)}


def test_a_heartbeat_makes_a_worker() -> None:
    roster = Roster()
    roster.hear(b"", event(), since=T - 5, now=T + 1)
    (worker,) = roster.readings(WorkerState.UNKNOWN)

    assert worker.name == "w1@h"
    assert worker.last_heartbeat_at == datetime.fromtimestamp(T, timezone.utc)
    assert (worker.running, worker.processed, worker.pid, worker.host) == (1, 10, 77, "h")
    assert (worker.version, worker.state) == ("celery 5.7.0", None)


@given(
    clock=st.none() | st.floats(-1e9, 1e9),
    waited=st.floats(0, 60),
    transit=st.floats(0, 60),
)
def test_a_wrong_clock_is_wrong_by_no_more_than_the_time_between_looks(clock, waited, transit):
    """The event arrived somewhere between two looks; no clock makes it earlier or later."""
    since, now = T, T + waited
    timestamp = None if clock is None else T + transit + clock
    roster = Roster()
    roster.hear(b"", event(timestamp=timestamp), since=since, now=now)
    (worker,) = roster.readings(WorkerState.UNKNOWN)

    assert since <= worker.last_heartbeat_at.timestamp() + 1e-3
    assert worker.last_heartbeat_at.timestamp() - 1e-3 <= now


def test_who_says_good_bye_is_gone_even_while_announced() -> None:
    roster = Roster()
    roster.announce({b"": ["w1@h"]}, T)
    roster.hear(b"", event("online"), since=T, now=T)
    roster.hear(b"", event("offline"), since=T, now=T)
    roster.announce({b"": ["w1@h"]}, T)
    assert rows(roster) == {}
    assert roster.all_heard(T)

    roster.hear(b"", event("online"), since=T, now=T)
    assert list(rows(roster)) == ["w1@h"]


def test_who_left_may_come_back_without_a_word() -> None:
    roster = Roster()
    roster.hear(b"", event("offline"), since=T, now=T)
    roster.announce({b"": []}, T)
    roster.announce({b"": ["w1@h"]}, T)

    assert rows(roster)["w1@h"].state is WorkerState.UNKNOWN


@pytest.mark.parametrize("silent", [WorkerState.UNKNOWN, WorkerState.DEAD])
def test_an_announced_worker_never_heard_is_what_our_patience_says(silent) -> None:
    roster = Roster()
    roster.announce({b"": ["w1@h", "w2@h"]}, T)
    roster.hear(b"", event(), since=T, now=T)

    found = rows(roster, silent)
    assert (found["w1@h"].state, found["w2@h"].state) == (None, silent)
    assert not roster.all_heard(T)
    roster.hear(b"", event(node="w2@h"), since=T, now=T)
    assert roster.all_heard(T)
    assert not roster.all_heard(T + 1)


def test_a_heartbeat_without_counts_keeps_the_last_ones() -> None:
    roster = Roster()
    roster.hear(b"", event(active=3, processed=9), since=T, now=T)
    roster.hear(b"", event(active=None, processed=None), since=T, now=T + 1)

    assert (rows(roster)["w1@h"].running, rows(roster)["w1@h"].processed) == (3, 9)


def test_a_silent_worker_nobody_announces_is_forgotten_in_the_end() -> None:
    roster = Roster()
    for node in ("announced@h", "alone@h"):
        roster.hear(b"", event(node=node), since=T, now=T)
    nodes = {b"": ["announced@h"]}
    roster.announce(nodes, T + FORGET_AFTER - 1)
    assert len(rows(roster)) == 2
    roster.announce(nodes, T + FORGET_AFTER + 1)

    assert list(rows(roster)) == ["announced@h"]


def test_news_is_who_comes_and_goes_and_not_every_beat() -> None:
    roster = Roster()
    seen = []
    for kind in ("online", "heartbeat", "heartbeat", "offline", "heartbeat", "heartbeat"):
        before = roster.news
        roster.hear(b"", event(kind), since=T, now=T)
        seen.append(roster.news > before)

    assert seen == [True, True, False, True, True, False]


def test_workers_of_several_prefixes_are_told_apart() -> None:
    roster = Roster()
    for prefix in (b"shop:", b""):
        roster.hear(prefix, event(), since=T, now=T)

    assert list(rows(roster)) == ["shop:w1@h", "w1@h"]


def test_a_flood_of_names_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(rosters, "MOST_WORKERS", 3)
    roster = Roster()
    for number in range(10):
        roster.hear(b"", event(node=f"w{number}"), since=T, now=T)
    roster.hear(b"", event(node="w0", active=7), since=T, now=T)

    assert list(rows(roster)) == ["w0", "w1", "w2"]
    assert rows(roster)["w0"].running == 7


def test_who_lost_a_mailbox_that_proves_its_connection_is_dead() -> None:
    roster = Roster()
    roster.hear(b"", event(), since=T - 5, now=T)
    roster.announce({b"": ["w1@h"]}, T, proof=True)
    assert rows(roster)["w1@h"].state is None

    roster.announce({b"": []}, T + 1, proof=True)
    # What it said before it was killed may arrive later.
    roster.hear(b"", event(timestamp=T + 0.5), since=T, now=T + 1)
    assert rows(roster)["w1@h"].state is WorkerState.DEAD

    roster.announce({b"": ["w1@h"]}, T + 2, proof=True)
    assert rows(roster)["w1@h"].state is None


def test_who_said_good_bye_is_not_dead_but_gone() -> None:
    roster = Roster()
    roster.hear(b"", event(), since=T - 5, now=T)
    roster.announce({b"": ["w1@h"]}, T, proof=True)
    roster.hear(b"", event("offline", timestamp=T + 1), since=T, now=T + 1)
    roster.announce({b"": []}, T + 1, proof=True)

    assert rows(roster) == {}


def test_who_never_had_a_mailbox_is_judged_by_its_heartbeat() -> None:
    roster = Roster()
    roster.hear(b"", event(), since=T - 5, now=T)
    roster.announce({b"": []}, T + 1, proof=True)

    assert rows(roster)["w1@h"].state is None


def test_a_connected_worker_that_is_silent_is_neither_dead_nor_well() -> None:
    roster = Roster()
    roster.hear(b"", event(), since=T - 5, now=T)
    roster.announce({b"": ["w1@h"]}, T, proof=True)
    (worker,) = roster.readings(WorkerState.UNKNOWN, quiet_since=T + 1)

    assert worker.state is WorkerState.UNKNOWN
    assert roster.quiet(T + 1) == [(b"", "w1@h")]


def test_a_lost_worker_is_dead_until_it_is_heard_again() -> None:
    roster = Roster()
    roster.hear(b"", event(), since=T - 5, now=T)
    roster.lose((b"", "w1@h"))
    assert rows(roster)["w1@h"].state is WorkerState.DEAD
    assert roster.quiet(T + 1) == []

    roster.hear(b"", event(timestamp=T + 2), since=T, now=T + 2)
    assert rows(roster)["w1@h"].state is None
