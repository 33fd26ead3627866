"""The page of a worker: what may be told to it by whom, and what it says as harmless tables."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgtop.actions import WORKER_VERBS, Verb
from bgtop.jobs import JobReading, JobState
from bgtop.model import BackendInfo, QueueReading, Rates, Reading, Source, WorkerReading
from bgtop.state.records import JobRow, QueueRow, SourceRow, WorkerRow
from bgtop.state.worker_views import EVERYTHING, worker_view
from bgtop.web.grants import ANYBODY, Grant, Person, Role
from bgtop.web.offers import DEEDS, OF_WORKERS, held_deeds, offer_for, worker_offer
from bgtop.web.told import MOST_ROWS, Panel, panels_of
from bgtop.web.verbs import KINDS, fields_of, required_of

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


def test_every_verb_has_a_button() -> None:
    assert {verb.value for verb in Verb} == set(DEEDS) - {"terminate"}
    blanks = DEEDS["send"].blanks
    assert {blank.field for blank in blanks} <= set(fields_of(KINDS["send"]))
    assert [blank.field for blank in blanks if blank.needed] == ["task", "args", "kwargs"]


def source_of(*verbs: Verb) -> Source:
    info = BackendInfo(system="rq", broker="redis", url="", verbs=frozenset(verbs))
    return Source(name="h", info=info, reading=Reading(taken_at=NOW))


@pytest.mark.parametrize(
    ("who", "of_source", "of_job", "of_page"),
    [
        (Role.ADMIN, ("requeue", "suspend", "wake", "send"), ("abort", "terminate"), True),
        (Role.OPERATOR, ("requeue", "suspend", "wake"), ("terminate",), False),
    ],
)
def test_sending_and_aborting_are_an_admins(
    who: Role, of_source: tuple[str, ...], of_job: tuple[str, ...], of_page: bool
) -> None:
    """A queue offers to send on its own page only: in a table each row would."""
    source = source_of(*Verb)
    titles = {source.key: "h"}
    job = JobRow(source, JobReading(id="1", name="t", state=JobState.RUNNING, queue="mail"))
    queue = QueueRow(source, QueueReading(name="mail"), Rates(), (source.key, "mail"))

    def names(row: Any, *, whole_page: bool = False, **grant: Any) -> tuple[str, ...]:
        one = person(who, **grant)
        offer = offer_for(row, one, titles, control=True, whole_page=whole_page)
        return () if offer is None else offer.names

    assert names(SourceRow(source, "h")) == of_source
    assert names(job) == of_job
    assert "send" not in names(queue)
    assert ("send" in names(queue, whole_page=True)) is of_page
    # A role for some queues does not reach workers.
    assert names(job, queues=("mail",)) == ("terminate",)
    assert "send" not in names(queue, whole_page=True, queues=("mail",))


def row_of(*verbs: Verb) -> WorkerRow:
    return WorkerRow(source_of(*verbs), WorkerReading(name="w1"))


def person(role: Role, **grant: Any) -> Person:
    return Person("ann", Grant(role, **grant), "session")


def test_every_verb_about_workers_has_a_button_that_asks_for_all_it_needs() -> None:
    assert set(OF_WORKERS) == {verb.value for verb in WORKER_VERBS} - {
        "send",
        "abort",
        "suspend",
        "wake",
    }
    for name in OF_WORKERS:
        kind, blanks = KINDS[name], DEEDS[name].blanks
        asked = {blank.field for blank in blanks}
        assert {*asked, "worker"} == set(fields_of(kind))
        assert {*(b.field for b in blanks if b.needed), "worker"} >= set(required_of(kind))


@pytest.mark.parametrize(
    "who",
    [ANYBODY, person(Role.VIEWER), person(Role.OPERATOR), person(Role.ADMIN, queues=("mail",))],
)
def test_who_may_not_is_offered_nothing(who: Person) -> None:
    row = row_of(*Verb)
    assert worker_offer(row, who, {row.source.key: "h"}, control=True) is None


def test_what_a_system_cannot_do_is_said_and_not_offered() -> None:
    row = row_of(Verb.SHUTDOWN, Verb.GROW)
    titles = {row.source.key: "h"}
    offer = worker_offer(row, person(Role.ADMIN), titles, control=True)

    assert offer is not None
    assert offer.names == ("grow", "shutdown")
    assert offer.target == {"source": "h", "worker": "w1"}
    assert offer.words.startswith("rq cannot: shrink pool, autoscale, restart pool, add queue")
    assert worker_offer(row, person(Role.ADMIN), titles, control=False) is None


def test_what_a_worker_holds_can_be_stopped_by_those_who_may() -> None:
    row = row_of(Verb.CANCEL, Verb.ABORT, Verb.DELETE)
    admin = held_deeds(row, person(Role.ADMIN), control=True)
    assert admin == {
        JobState.RUNNING: ["abort", "terminate"],
        JobState.WAITING: ["cancel"],
        JobState.SCHEDULED: ["cancel"],
    }
    assert held_deeds(row, person(Role.OPERATOR), control=True) == {
        **admin,
        JobState.RUNNING: ["terminate"],
    }
    for who, control in ((person(Role.VIEWER), True), (ANYBODY, True), (person(Role.ADMIN), False)):
        assert not any(held_deeds(row, who, control=control).values())


def panels(answers: dict[str, Any]) -> dict[str, Panel]:
    view = worker_view(("h", "celery"), "w1", None, answers, NOW)
    return {panel.title: panel for panel in panels_of(view, {})}


def test_what_was_not_told_is_not_none() -> None:
    told = panels({"revoked": [], "registered": ["a [rate_limit=1]"]})

    assert told["Revoked"].rows == []
    assert told["Active"].rows is None
    assert told["Registered tasks"].rows == [["a [rate_limit=1]", "–"]]
    assert panels({"registered": ["a"], "stats": {"total": {}}})["Registered tasks"].rows == [
        ["a", "0"]
    ]


def test_long_lists_are_cut_and_counted() -> None:
    revoked = panels({"revoked": [str(n) for n in range(MOST_ROWS + 7)]})["Revoked"]
    assert (len(revoked.rows or ()), revoked.hidden) == (MOST_ROWS, 7)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_KEYS = st.sampled_from(
    [*("pool", "rusage", "utime", "maxrss", "total", "processes", "writes", "timeouts", "name"),
     *("exchange", "id", "args", "request", "eta", "time_start", "queue_arguments", "\u202e")]
)  # fmt: skip
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(answers=st.dictionaries(st.sampled_from(EVERYTHING), _ANYTHING))
def test_whatever_a_worker_says_is_text_that_does_no_harm(answers: dict[str, Any]) -> None:
    for panel in panels(answers).values():
        for row in panel.rows or ():
            assert len(row) == len(panel.columns)
            assert all(cell and cell.isprintable() for cell in row)
