"""One search for several listeners: each hears what it asked for, in whole passes."""

from __future__ import annotations

import fnmatch

import pytest
from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends import redis_search
from bgtop.backends.redis_search import KeySearch, SharedSearch, Step, _Glob


def turn(search: SharedSearch, cursor: bytes, *keys: bytes, now: float = 0.0) -> list[str]:
    """One step of the search; the names of what it asked."""
    commands = search.commands(now)
    scan = [cursor, [*keys]]
    search.absorb([10_000, scan] if len(commands) == 2 else [scan] if commands else [], now)
    return [str(command[0]) for command in commands]


def test_who_listens_asks_nothing_and_is_told() -> None:
    shared = SharedSearch()
    mail = KeySearch(b"mail:*", shared=shared)
    turn(shared, b"7", b"mail:a", b"shop:b")
    turn(shared, b"0", b"mail:c")

    assert mail.commands(0.0) == []
    assert mail.is_done_asking
    assert mail.heard() == [
        Step([b"mail:a"], 0, ended=False, began=True),
        Step([b"mail:c"], 0, ended=True),
    ]
    assert mail.complete
    assert mail.heard() == []
    assert shared.told_everybody


def test_who_joins_in_the_middle_waits_for_a_whole_pass_which_begins_at_once() -> None:
    shared = SharedSearch()
    turn(shared, b"7", b"mail:a")
    mail = KeySearch(b"mail:*", shared=shared)
    turn(shared, b"0", b"mail:b")

    assert mail.heard() == [Step([b"mail:b"], 0, ended=False)]
    assert not mail.complete
    assert not shared.told_everybody
    assert turn(shared, b"0", b"mail:a", b"mail:b", now=0.1) == ["DBSIZE", "SCAN"]
    assert mail.heard() == [Step([b"mail:a", b"mail:b"], 0, ended=True, began=True)]
    assert mail.complete
    assert turn(shared, b"0", now=0.2) == [], "now there is a pause"


def test_patterns_come_in_turn_as_in_a_search_of_ones_own() -> None:
    shared = SharedSearch()
    both = KeySearch(b"*binding*", b"*[1-9]", shared=shared)
    turn(shared, b"7", b"list1", b"binding.a")
    turn(shared, b"0", b"binding.b", b"list2")

    assert both.heard() == [
        Step([b"binding.a"], 0, ended=False, began=True),
        Step([b"binding.b"], 0, ended=True),
        Step([b"list1", b"list2"], 1, ended=True, began=True),
    ]


def test_a_listener_can_ask_for_another_pass() -> None:
    shared = SharedSearch()
    mail = KeySearch(b"mail:*", shared=shared)
    turn(shared, b"0", b"mail:a")
    mail.heard()
    assert turn(shared, b"0") == []

    mail.hurry()
    assert turn(shared, b"0", b"mail:a") == ["DBSIZE", "SCAN"]
    mail.look_again()
    assert turn(shared, b"0", b"mail:a") == ["DBSIZE", "SCAN"]
    assert [step.keys for step in mail.heard()] == [[b"mail:a"], [b"mail:a"]]


def test_a_lost_connection_of_a_listener_begins_no_pass_of_its_own() -> None:
    shared = SharedSearch()
    mail = KeySearch(b"mail:*", shared=shared)
    mail.start_over()

    assert mail.commands(0.0) == []
    assert turn(shared, b"0", b"mail:a") == ["DBSIZE", "SCAN"]
    assert mail.heard()[-1].ended


def test_a_refusal_is_everybodys() -> None:
    shared = SharedSearch()
    mail = KeySearch(b"mail:*", shared=shared)
    shared.commands(0.0)
    refusal = ReplyError("NOPERM no")
    shared.absorb([10_000, refusal], 0.0)

    assert mail.heard() == []
    assert (mail.complete, mail.refusal) == (True, refusal)


def test_who_does_not_listen_for_long_is_told_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_search, "MOST_UNHEARD", 3)
    shared = SharedSearch()
    mail = KeySearch(b"mail:*", shared=shared)
    turn(shared, b"7", b"mail:a", b"mail:b")
    turn(shared, b"9", b"mail:c", b"mail:d")
    turn(shared, b"0", b"mail:e")

    assert [step.ended for step in mail.heard()] == [False]
    assert not mail.complete
    turn(shared, b"0", b"mail:a")
    assert mail.heard() == [Step([b"mail:a"], 0, ended=True, began=True)]


LETTERS = st.sampled_from("abc:.*?[]\\\n")


@given(st.text(LETTERS, max_size=6), st.text("abc:.\n", max_size=6), st.text("abc:", max_size=4))
def test_a_pattern_matches_as_the_server_would(name: str, more: str, literal: str) -> None:
    names = [(name + more).encode(), literal.encode(), (literal + name).encode()]
    for pattern in (f"{literal}*", f"*{literal}*", f"{literal}?", f"[abc]*{literal}", "*"):
        fitting = [n for n in names if fnmatch.fnmatchcase(n.decode(), pattern)]
        assert _Glob(pattern.encode()).matching(names) == fitting


def test_an_escaped_letter_of_a_pattern_is_itself() -> None:
    glob = _Glob(rb"a\*b\[\\:*")

    assert glob.matching([b"a*b[\\:x", b"axb[\\:x", b"a*b["]) == [b"a*b[\\:x"]
