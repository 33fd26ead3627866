"""Sums over a frame, and its rows in the order they are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frames import INFO, T0, frame, queues, source

from bgtop.model import Capability, QueueReading, Rates, Reading, WorkerReading, WorkerState
from bgtop.state.intake import name_filter
from bgtop.state.listing import queues_of, workers_of
from bgtop.state.totals import totals_of
from bgtop.view.document import document_of
from bgtop.view.facts import total_facts


def workers(*states: tuple[str, WorkerState, int | None]) -> Reading:
    return Reading(
        taken_at=T0,
        workers=tuple(
            WorkerReading(name=name, state=state, running=running)
            for name, state, running in states
        ),
    )


def test_nothing_read_is_nothing_known() -> None:
    totals = totals_of(frame(source(None)))

    assert (totals.queues, totals.workers) == (0, 0)
    assert totals.depth is totals.unacked is totals.running is totals.failed is None


def test_a_source_without_queues_has_no_jobs_if_it_can_tell() -> None:
    totals = totals_of(frame(source(Reading(taken_at=T0))))

    assert (totals.depth, totals.failed) == (0, None)


def test_sums_skip_what_is_not_told() -> None:
    reading = Reading(
        taken_at=T0,
        queues=(QueueReading(name="a", depth=2, failed=3), QueueReading(name="b", depth=5)),
    )

    totals = totals_of(frame(source(reading), source(None, "down")))

    assert (totals.depth, totals.failed, totals.unacked) == (7, 3, None)
    assert totals.at_least >= {"depth", "failed"}, "a source was never read"


def test_a_sum_of_which_a_part_is_unknown_is_the_least_it_can_be() -> None:
    known, untold = (
        Reading(taken_at=T0, queues=(QueueReading(name="a", depth=2, failed=failed),))
        for failed in (3, None)
    )
    rates = {("one", "a"): Rates(in_per_second=1.0)}

    totals = totals_of(frame(source(known, "one"), source(untold, "two"), rates=rates))

    assert (totals.depth, totals.failed, totals.in_per_second) == (4, 3, 1.0)
    assert totals.at_least & {"depth", "failed", "in_per_second"} == {"failed", "in_per_second"}
    facts = {fact.label: fact.value.text for fact in total_facts(frame(source(known, "one")))}
    assert (facts["Depth"], facts["Failed"], facts["Unacked"]) == ("2", "3", "–")
    mixed = total_facts(frame(source(known, "one"), source(untold, "two"), rates=rates))
    facts = {fact.label: fact.value.text for fact in mixed}
    assert (facts["Depth"], facts["Failed"], facts["In/s"]) == ("4", "≥3", "≥1.0")


def test_what_a_source_says_of_itself_counts_more_than_its_queues() -> None:
    reading = replace(queues("a", "b"), totals={"unacked": 9, "depth": 4})

    totals = totals_of(frame(source(reading), source(queues("c"), "other")))

    assert (totals.unacked, totals.depth) == (9, 5)


def test_what_only_a_whole_source_tells_is_in_its_record_and_on_the_screen() -> None:
    """Tasks that RabbitMQ keeps until they are due are of no queue yet."""
    delayed = frame(source(replace(queues("a", "b"), totals={"scheduled": 3})))

    document = document_of(delayed)
    assert document["sources"][0]["totals"] == {"scheduled": 3}
    assert document["totals"]["scheduled"] == 3
    assert {fact.label: fact.value.text for fact in total_facts(delayed)}["Scheduled"] == "3"
    # Where each queue tells it, its row does, and the line has no room for all sums.
    plain = frame(source(queues("a", "b")))
    assert "Scheduled" not in {fact.label for fact in total_facts(plain)}
    assert document_of(plain)["sources"][0]["totals"] == {}


def test_running_is_what_living_workers_run() -> None:
    reading = replace(
        workers(("a", WorkerState.ACTIVE, 2), ("b", WorkerState.DEAD, 7)),
        queues=(QueueReading(name="q", running=40),),
    )

    totals = totals_of(frame(source(reading)))
    assert totals.running == 2
    assert "running" not in totals.at_least, "what the dead one ran is not missing"


def test_running_is_what_the_queues_say_when_no_worker_can_tell() -> None:
    reading = replace(
        workers(("a", WorkerState.ACTIVE, None)), queues=(QueueReading(name="q", running=4),)
    )

    assert totals_of(frame(source(reading))).running == 4


def test_an_empty_source_that_tells_running_runs_nothing() -> None:
    able = replace(INFO, capabilities=frozenset({Capability.RUNNING}))
    empty = replace(source(Reading(taken_at=T0)), info=able)

    assert totals_of(frame(empty)).running == 0


def test_rates_are_summed() -> None:
    rates = {("a", "x"): Rates(in_per_second=1.5), ("a", "y"): Rates(in_per_second=2.0)}

    totals = totals_of(frame(source(queues("x", "y")), rates=rates))

    assert totals.in_per_second == pytest.approx(3.5)
    assert totals.out_per_second is None


def test_queues_come_by_source_then_name() -> None:
    listed = queues_of(frame(source(queues("b", "a"), "two"), source(queues("a"), "one")))

    assert [(s.name, q.name) for s, q in listed.rows] == [("two", "a"), ("two", "b"), ("one", "a")]
    assert listed.hidden == 0


def test_dead_workers_come_first() -> None:
    reading = workers(
        ("a", WorkerState.ACTIVE, 1), ("b", WorkerState.DEAD, 0), ("c", WorkerState.IDLE, 0)
    )

    assert [w.name for _, w in workers_of(frame(source(reading))).rows] == ["b", "a", "c"]


def test_limits_say_how_many_they_hide_and_totals_count_all() -> None:
    limited = replace(frame(source(queues("a", "b", "c"))), max_queues=1)

    listed = queues_of(limited)

    assert [q.name for _, q in listed.rows] == ["a"]
    assert listed.hidden == 2
    assert (totals_of(limited).queues, totals_of(limited).depth) == (3, 3)


def test_a_limit_that_is_not_reached_hides_nothing() -> None:
    assert queues_of(replace(frame(source(queues("a", "b"))), max_queues=2)).hidden == 0


def test_listings_can_be_filtered() -> None:
    listed = queues_of(frame(source(queues("mail", "push"))), name_filter("!mail"))

    assert [q.name for _, q in listed.rows] == ["push"]


def test_dead_jobs_are_among_those_the_line_says_failed_as_on_the_page_of_failures() -> None:
    both = QueueReading(name="a", failed=3, dead=2)
    only_dead = QueueReading(name="b", dead=4)
    reading = Reading(taken_at=T0, queues=(both,))
    other = Reading(taken_at=T0, queues=(only_dead,))
    untold = Reading(taken_at=T0, queues=(QueueReading(name="c", depth=1),))

    def shown(*readings: Reading) -> str:
        seen = frame(*(source(one, str(at)) for at, one in enumerate(readings)))
        return {fact.label: fact.value.text for fact in total_facts(seen)}["Failed"]

    assert shown(reading) == "5 (2 dead)"
    assert shown(reading, other) == "9 (6 dead)"
    assert shown(reading, untold) == "≥5 (2 dead)"
    assert shown(untold) == "–"
    document = document_of(frame(source(reading)))
    assert (document["totals"]["failed"], document["totals"]["dead"]) == (3, 2)
