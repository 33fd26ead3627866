"""The rows of Celery's queues: made anew where something changed, and as if made anew elsewhere."""

from __future__ import annotations

from datetime import datetime, timezone

from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.celery.deliveries import Apart
from bgtop.backends.celery.rows import Found, Row, Rows
from bgtop.model import Age, AgeKind

PLAN = [Row(name, name.encode(), name[:1].encode(), internal=False) for name in ("a1", "a2", "b1")]
COUNTS = [{0: 0}, {0: 3}, {0: 3, 6: 1}]
"""As of ``Depths``: one object for each depth."""
WRONG = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")

places = st.integers(0, len(PLAN) - 1)
keys = st.sampled_from([row.key for row in PLAN])
numbers = st.dictionaries(keys, st.integers(1, 2))
instants = st.sampled_from([datetime(2026, 11, day, tzinfo=timezone.utc) for day in (21, 22)])
findings = st.builds(
    Found,
    counts=st.lists(st.sampled_from(COUNTS), min_size=len(PLAN), max_size=len(PLAN)),
    refusals=st.dictionaries(places, st.just(WRONG), max_size=1),
    ages=st.dictionaries(places, st.builds(Age, st.floats(0, 9), st.just(AgeKind.AT_LEAST))),
    apart=st.builds(
        Apart, st.frozensets(st.sampled_from([b"a", b"b"])), unacked=numbers, scheduled=numbers
    ),
    completed=st.dictionaries(keys, instants),
)


@given(st.lists(findings, min_size=2, max_size=6))
def test_every_look_tells_what_a_first_one_would(looks) -> None:
    rows = Rows()
    rows.plan(PLAN)
    for found in looks:
        fresh = Rows()
        fresh.plan(PLAN)
        assert rows.readings(found) == fresh.readings(found)


def test_a_queue_that_rests_is_the_same_object() -> None:
    rows = Rows()
    rows.plan(PLAN)
    found = Found([COUNTS[1]] * 3, {}, {}, Apart(frozenset({b"a", b"b"}), {}, {}), {})
    before = rows.readings(found)
    after = rows.readings(found._replace(counts=[COUNTS[1], COUNTS[2], COUNTS[1]]))

    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert after[1].depth == 4
