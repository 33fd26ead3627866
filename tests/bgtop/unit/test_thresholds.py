"""Limits and grades: what is too much, what is too little, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frames import INFO, T0, frame, source

from bgtop.model import (
    Age,
    AgeKind,
    Capability,
    Failure,
    Frame,
    QueueReading,
    Reading,
    Source,
    WorkerReading,
    WorkerState,
)
from bgtop.state.thresholds import Grade, Limit, Measure, verdict_on


def seen(*queues: QueueReading, workers: tuple[WorkerState, ...] = ()) -> Frame:
    staff = tuple(WorkerReading(name=f"w{n}", state=state) for n, state in enumerate(workers))
    return frame(source(Reading(taken_at=T0, queues=queues, workers=staff)))


def grade(found: Frame, measure: Measure, value: float = 0, **more: object) -> Grade:
    limit = Limit(measure=measure, value=value, **more)  # type: ignore[arg-type]
    return verdict_on(found, [limit]).grade


MAIL = QueueReading(name="mail", depth=10, consumers=1, failed=2, dead=1, oldest=Age(60))


def words(found: Frame, measure: Measure, value: float) -> str:
    [remark] = verdict_on(found, [Limit(measure=measure, value=value)]).remarks
    return remark.words


def test_an_age_beyond_its_limit_is_not_rounded_to_it() -> None:
    young = seen(QueueReading(name="mail", depth=1, oldest=Age(1.2)))

    assert words(young, Measure.AGE, 1) == "mail: oldest job waits 1.2s, more than 1s"


def test_what_could_not_be_read_has_no_number() -> None:
    down = frame(source(None, failure=Failure(message="connection refused", since=T0)))
    gauges = verdict_on(down, []).gauges

    assert {gauge.label for gauge in gauges if gauge.value is not None} == set()


def test_a_sum_of_which_a_part_is_unknown_is_not_whole() -> None:
    untold = replace(source(Reading(taken_at=T0, queues=(QueueReading(name="q", depth=1),))))
    told = seen(MAIL).snapshot.sources[0]

    def partial(*sources: Source) -> set[str]:
        named = [replace(one, name=str(at)) for at, one in enumerate(sources)]
        return {g.label for g in verdict_on(frame(*named), []).gauges if not g.whole}

    assert "failed" not in partial(told)
    assert partial(told, untold) - partial(told) == {"failed"}
    down = source(None, failure=Failure(message="refused", since=T0))
    assert partial(told, down) >= {"queues", "depth", "deepest", "workers", "failed"}


def test_a_depth_nobody_tells_is_not_zero() -> None:
    limit = Limit(measure=Measure.AGE, value=5, queue="mail")
    gauges = verdict_on(seen(QueueReading(name="mail", consumers=1)), [limit]).gauges

    assert {gauge.label: gauge.value for gauge in gauges}["mail depth"] is None


def test_nothing_to_complain_about() -> None:
    verdict = verdict_on(seen(MAIL), [])

    assert (verdict.grade, verdict.remarks) == (Grade.OK, ())


@pytest.mark.parametrize(
    ("measure", "beyond", "within"),
    [(Measure.DEPTH, 9, 10), (Measure.AGE, 59, 60), (Measure.FAILED, 2, 3)],
)
def test_beyond_a_limit_and_just_within(measure: Measure, beyond: float, within: float) -> None:
    assert grade(seen(MAIL), measure, beyond) is Grade.CRITICAL
    assert grade(seen(MAIL), measure, beyond, grade=Grade.WARNING) is Grade.WARNING
    assert grade(seen(MAIL), measure, within) is Grade.OK


def test_a_limit_for_one_queue_leaves_the_others_alone() -> None:
    found = seen(MAIL, QueueReading(name="push", depth=3))

    assert grade(found, Measure.DEPTH, 5, queue="push") is Grade.OK
    assert grade(found, Measure.DEPTH, 5, queue="mail") is Grade.CRITICAL
    assert grade(found, Measure.DEPTH, 5, queue="mial") is Grade.UNKNOWN


@pytest.mark.parametrize(
    ("queue", "measure"),
    [
        (QueueReading(name="q"), Measure.DEPTH),
        (QueueReading(name="q", depth=1), Measure.AGE),
        (QueueReading(name="q", depth=1, oldest=Age(1, AgeKind.AT_LEAST)), Measure.AGE),
        (QueueReading(name="q", depth=1), Measure.FAILED),
    ],
)
def test_a_number_that_is_needed_and_cannot_be_told_is_unknown(
    queue: QueueReading, measure: Measure
) -> None:
    assert grade(seen(queue), measure, 100) is Grade.UNKNOWN


def test_where_nothing_waits_nothing_is_old() -> None:
    assert grade(seen(QueueReading(name="q", depth=0)), Measure.AGE) is Grade.OK


def test_a_lower_bound_beyond_the_limit_is_enough() -> None:
    queue = QueueReading(name="q", depth=1, oldest=Age(61, AgeKind.AT_LEAST))

    assert grade(seen(queue), Measure.AGE, 60) is Grade.CRITICAL


def test_waiting_without_consumer() -> None:
    def of(depth: int | None, consumers: int | None, *workers: WorkerState) -> Grade:
        queue = QueueReading(name="q", depth=depth, consumers=consumers)
        return grade(seen(queue, workers=workers), Measure.CONSUMERS)

    assert of(5, 0) is Grade.CRITICAL
    assert of(0, 0) is Grade.OK
    assert of(5, 1) is Grade.OK
    assert of(5, None, WorkerState.IDLE) is Grade.UNKNOWN
    assert of(5, None, WorkerState.DEAD) is Grade.CRITICAL
    assert of(5, None) is Grade.CRITICAL


def test_too_few_workers() -> None:
    def of(*workers: WorkerState) -> Grade:
        return grade(seen(workers=workers), Measure.WORKERS, 2)

    assert of(WorkerState.ACTIVE, WorkerState.IDLE) is Grade.OK
    assert of(WorkerState.ACTIVE, WorkerState.DEAD) is Grade.CRITICAL
    assert of(WorkerState.ACTIVE, WorkerState.UNKNOWN) is Grade.UNKNOWN


def test_workers_a_system_does_not_tell() -> None:
    info = replace(INFO, capabilities=frozenset({Capability.DEPTH}))
    found = frame(replace(source(Reading(taken_at=T0)), info=info))

    assert grade(found, Measure.WORKERS, 1) is Grade.UNKNOWN


def test_the_worst_grade_counts_and_unknown_is_less_than_a_warning() -> None:
    found = seen(MAIL, QueueReading(name="dark"))
    warn, stop = (
        Limit(measure=Measure.DEPTH, value=value, grade=grade)
        for value, grade in ((5, Grade.WARNING), (9, Grade.CRITICAL))
    )

    assert verdict_on(found, [warn]).grade is Grade.WARNING
    verdict = verdict_on(found, [warn, stop])
    assert [(remark.grade, remark.words) for remark in verdict.remarks] == [
        (Grade.CRITICAL, "mail: 10 waiting, more than 9"),
        (Grade.UNKNOWN, "dark: the depth cannot be told"),
    ]


def test_a_queue_beyond_several_limits_is_told_once_and_by_its_own() -> None:
    everywhere = Limit(measure=Measure.DEPTH, value=3)
    here = Limit(measure=Measure.DEPTH, value=2, queue="mail")
    other = Limit(measure=Measure.AGE, value=1)
    words = [remark.words for remark in verdict_on(seen(MAIL), [everywhere, here, other]).remarks]

    assert words == ["mail: 10 waiting, more than 2", "mail: oldest job waits 60.0s, more than 1s"]


def test_a_source_that_fails_is_critical_and_one_without_a_system_unknown() -> None:
    failing = source(None, failure=Failure(message="refused", since=T0))
    empty = replace(source(Reading(taken_at=T0)), info=replace(INFO, system=None))

    assert verdict_on(frame(failing), []).grade is Grade.CRITICAL
    assert verdict_on(frame(empty), []).grade is Grade.UNKNOWN
