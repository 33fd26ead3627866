"""What each page says of what is there, what is being read, and what cannot be told."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from frames import INFO, T0, ago, frame, looked_into, some_jobs, source, usual_frame
from hypothesis import given
from hypothesis import strategies as st

from bgtop.contracts import Size
from bgtop.model import (
    Capability,
    CurrentTask,
    Failure,
    Frame,
    JobList,
    JobQuery,
    JobReading,
    JobState,
    QueueReading,
    Reading,
    ScheduleReading,
    TaskTypeReading,
    WorkerReading,
)
from bgtop.page import Page, Table
from bgtop.state.filters import filter_of
from bgtop.state.records import JOB_FACTS, ErrorRow, JobRow, TypeRow
from bgtop.state.steps import at_once
from bgtop.view.keys import reduce
from bgtop.view.layout import layout
from bgtop.view.pages import FIRST_PAGES, PAGES, page_named, page_of, preparing
from bgtop.view.subjects import failed_jobs, jobs_in_queue, jobs_of_worker, whole_job
from bgtop.view.ui import Copy, Pane, Ui, Visit

SIZE = Size(120, 40)


def page(visit: Visit, seen: Frame) -> Page:
    return page_of(seen, Ui(size=SIZE, stack=(visit,)), T0)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def facts(shown: Page) -> dict[str, str]:
    return {fact.label: fact.value.text for fact in shown.totals}


def copied(name: str, seen: Frame, focus: str = "") -> str:
    """What ``y`` copies on a page."""
    _, effects = reduce(Ui(size=SIZE, stack=(Visit(page=name, focus=focus),)), "y", seen)
    [effect] = effects
    assert isinstance(effect, Copy)
    return effect.text


def test_a_cell_nobody_looks_at_is_not_made() -> None:
    """Pictures of numbers cost most, and few screens have room for them."""

    class Unread:
        def of(self, *_: object) -> tuple[float | None, ...]:
            raise AssertionError("a trend was looked up")

        def change(self, _: str) -> None:
            return None

    seen = replace(usual_frame(), trends=Unread())
    shown = page(Visit(page="overview"), seen)

    layout(shown, SIZE)

    trend = [column.key for column in shown.tables[0].columns].index("trend")
    with pytest.raises(AssertionError, match="trend"):
        _ = shown.tables[0].rows[0].cells[trend]


def test_a_page_is_data_that_can_be_sent_elsewhere() -> None:
    shown = page(Visit(page="overview"), usual_frame())

    sent = pickle.loads(pickle.dumps(shown))

    assert [*map(texts, sent.tables)] == [*map(texts, shown.tables)]
    assert sent.tables == shown.tables
    assert sent.tables[0].rows[0].cells[:2] == shown.tables[0].rows[0].cells[:2]


def test_what_is_copied_is_what_the_row_shows() -> None:
    """A row is called by more than its name where several have one; that is nobody's to paste."""
    fails = TaskTypeReading(name="fail", failed=5, exceptions={"ValueError": 5})
    seen = frame(source(Reading(taken_at=T0, task_types=(fails,)), "here:6379/0"))
    assert copied("sources", seen) == "here:6379/0"
    assert copied("tasks", seen) == "fail"
    assert copied("tasks", seen, focus="errors") == "ValueError"

    job = Ui(size=SIZE, stack=(JOBS_PAGES["job"],))
    _, effects = reduce(job, "y", looked_into(jobs=some_jobs(whole_job(JOBS_PAGES["job"]))))
    assert effects == (Copy("beef42"),)


def test_the_failures_behind_a_row_are_those_it_counts() -> None:
    here, there = source(Reading(taken_at=T0), "here"), source(Reading(taken_at=T0), "there")
    types, errors = page_named("tasks").tables

    def kept(visit: Visit | None) -> list[int]:
        assert visit is not None
        test = filter_of(visit.pane("failures").filter, JOB_FACTS)
        assert test is not None
        jobs = [
            (here, "app.fail", "ValueError: x"),
            (here, "fail", "ValueError: x"),
            (there, "fail", "ValueError: x"),
            (here, "fail", "KeyError: x"),
        ]
        return [
            at
            for at, (where, name, error) in enumerate(jobs)
            if test(
                JobRow(where, JobReading(id="1", state=JobState.FAILED, name=name, error=error))
            )
        ]

    row = TypeRow(here, TaskTypeReading(name="fail"))
    assert types.opens is not None
    assert kept(types.opens(row)) == [1, 3]
    assert errors.opens is not None
    assert kept(errors.opens(ErrorRow(here, "fail", "ValueError", 1))) == [1]


def test_a_schedule_leads_to_its_queue_and_who_tells_none_is_named() -> None:
    daily = ScheduleReading(name="daily", rule="0 3 * * *", queue="mail")
    lost = ScheduleReading(name="lost", rule="0 3 * * *")
    waits = QueueReading(name="mail", depth=1)
    able = source(Reading(taken_at=T0, queues=(waits,), schedules=(daily, lost)), "able")
    able = replace(able, info=replace(able.info, capabilities=frozenset(Capability)))
    blind = source(Reading(taken_at=T0), "blind")
    blind = replace(blind, info=replace(blind.info, system="huey", capabilities=frozenset()))
    ui = Ui(size=SIZE, stack=(Visit(page="schedules"),))

    both = page_of(frame(able, blind), ui, T0)
    assert "schedules of huey cannot be told" in [status.text for status in both.statuses]
    alone = page_of(frame(able), ui, T0)
    assert all("cannot be told" not in status.text for status in alone.statuses)

    opened, _ = reduce(ui, "enter", frame(able))
    assert (opened.visit.page, opened.visit.subject) == ("queue", (able.key, "mail"))
    assert "Open" in [hint.label for hint in alone.hints]
    below, _ = reduce(ui, "j", frame(able))
    assert "Open" not in [hint.label for hint in page_of(frame(able), below, T0).hints]


IN_MAIL = Visit(page="queue", subject=("a", "mail"))
JOBS_PAGES = {
    "queue": IN_MAIL,
    "worker": Visit(page="worker", subject=("a", "celery@web-01.example.org")),
    "failures": Visit(page="failures"),
    "job": Visit(page="job", subject=("a", "beef42")),
}


@pytest.mark.parametrize("name", ["queue", "worker", "failures", "job", "tasks", "schedules"])
def test_what_is_not_answered_yet_is_being_read(name: str) -> None:
    visit = JOBS_PAGES.get(name, Visit(page=name))

    assert page(visit, looked_into()).tables[0].empty == "reading…"


@pytest.mark.parametrize("name", ["queue", "worker", "failures", "job", "tasks", "schedules"])
def test_what_a_system_cannot_tell_is_said(name: str) -> None:
    visit = JOBS_PAGES.get(name, Visit(page=name))

    assert "celery cannot tell" in page(visit, usual_frame()).tables[0].empty


def test_an_answer_to_another_question_is_none() -> None:
    """The poll that was on its way when the page changed."""
    other = some_jobs(JobQuery(queue="push"))

    table = page(IN_MAIL, looked_into(jobs=other)).tables[0]

    assert (table.rows, table.empty) == ((), "reading…")


def test_no_jobs_are_no_jobs() -> None:
    nothing = JobList(query=jobs_in_queue(IN_MAIL))

    assert page(IN_MAIL, looked_into(jobs=nothing)).tables[0].empty == "no single jobs"


def test_a_source_that_is_down_cannot_be_read_at_the_moment() -> None:
    seen = looked_into()
    [one] = seen.snapshot.sources
    down = replace(one, failure=Failure(message="refused", since=T0))
    seen = replace(seen, snapshot=replace(seen.snapshot, sources=(down,)))

    assert page(IN_MAIL, seen).tables[0].empty == "cannot be read at the moment"


def test_a_source_that_is_gone() -> None:
    gone = Visit(page="queue", subject=("elsewhere", "mail"))

    shown = page(gone, looked_into())

    assert shown.tables[0].empty == "the source is gone"
    assert facts(shown)["Queue"] == "not there at the moment"


def test_paused_says_why_it_goes_on_being_read() -> None:
    ui = Ui(size=SIZE, stack=(IN_MAIL,), paused=True)

    assert page_of(looked_into(), ui, T0).tables[0].empty == "reading… · paused, p goes on"


def test_priorities_are_told_where_there_are_several() -> None:
    queue = QueueReading(name="mail", depth=12, by_priority={3: 2, 0: 10}, scheduled=4, failed=1)
    seen = frame(source(Reading(taken_at=T0, queues=(queue,))))

    told = facts(page(IN_MAIL, seen))

    assert (told["Depth"], told["Priorities"]) == ("12", "0:10 3:2")
    assert (told["Scheduled"], told["Deferred"]) == ("4", "–")


def test_states_that_cannot_be_listed_are_told() -> None:
    query = jobs_in_queue(IN_MAIL)
    answer = JobList(query=query, unreadable=frozenset({JobState.RUNNING, JobState.DEAD}))

    tags = [status.text for status in page(IN_MAIL, looked_into(jobs=answer)).statuses]

    assert "celery cannot list what is dead, running" in tags


def test_a_worker_tells_what_it_runs_where_jobs_cannot_be_listed() -> None:
    task = CurrentTask(id="1", name="shop.send", started_at=ago(5))
    worker = WorkerReading(name="w", running=1, current=(task,), queues=("mail",))
    queue = QueueReading(name="mail", depth=1)
    seen = frame(source(Reading(taken_at=T0, queues=(queue,), workers=(worker,))))

    running, reads = page(Visit(page="worker", subject=("a", "w")), seen).tables

    assert [row[:3] for row in texts(running)] == [["shop.send", "1", "running"]]
    assert [row[0] for row in texts(reads)] == ["mail"]


@pytest.mark.parametrize(
    ("worker", "jobs", "queues"),
    [
        (WorkerReading(name="w", current=()), "it runs nothing", "its queues cannot be told"),
        (WorkerReading(name="w", queues=()), "celery cannot tell single jobs", "no queues"),
    ],
)
def test_why_a_worker_has_no_rows(worker: WorkerReading, jobs: str, queues: str) -> None:
    seen = frame(source(Reading(taken_at=T0, workers=(worker,))))

    shown = page(Visit(page="worker", subject=("a", "w")), seen)

    assert [table.empty for table in shown.tables] == [jobs, queues]


def test_a_job_can_be_looked_for_at_all_sources() -> None:
    visit = Visit(page="job", subject=("", "beef42"))
    seen = looked_into(jobs=some_jobs(whole_job(visit)))

    lines = {row[0]: row[1] for row in texts(page(visit, seen).tables[0])}

    assert (lines["id"], lines["state"], lines["error"]) == ("beef42", "failed", "KeyError: 'ann'")

    other = source(None, "there")
    both = replace(seen, snapshot=replace(seen.snapshot, sources=(*seen.snapshot.sources, other)))
    assert [cell.text for cell in page(visit, both).title][-1] == seen.snapshot.sources[0].name


def test_a_job_that_is_not_there() -> None:
    visit = Visit(page="job", subject=("a", "nobody"))
    seen = looked_into(jobs=JobList(query=whole_job(visit)))

    assert page(visit, seen).tables[0].empty == "this job is not there (any more)"


def test_the_parents_of_a_job_are_followed() -> None:
    visit = JOBS_PAGES["job"]
    seen = looked_into(jobs=some_jobs(whole_job(visit)))
    ui = Ui(size=SIZE, stack=(visit,))
    for key in [*"/parent", "enter", "enter"]:
        ui, _ = reduce(ui, key, seen)

    assert ui.visit == Visit(page="job", subject=("a", "0f3a9c"))


def test_failures_come_newest_first_and_of_unknown_time_last() -> None:
    query = failed_jobs(Visit())
    jobs = [
        JobReading(id=name, state=JobState.FAILED, ended_at=at)
        for name, at in (("old", ago(99)), ("unknown", None), ("new", ago(1)))
    ]
    seen = looked_into(jobs=JobList(query=query, rows=tuple(jobs)))

    rows = page(Visit(page="failures"), seen).tables[0].rows

    assert [row.id[1] for row in rows] == ["new", "old", "unknown"]


def test_jobs_with_one_id_are_rows_of_their_own() -> None:
    """Broken messages may all have the same id, or none."""
    jobs = tuple(JobReading(id="", state=JobState.WAITING, malformed=True) for _ in range(3))
    seen = looked_into(jobs=JobList(query=jobs_in_queue(IN_MAIL), rows=jobs))
    ui = Ui(size=SIZE, stack=(IN_MAIL,))
    for at in range(3):
        shown = page_of(seen, ui, T0).tables[0]
        assert shown.selected == at
        ui, _ = reduce(ui, "j", seen)


def test_a_task_leads_to_its_failures() -> None:
    from frames import some_types

    ui = Ui(size=SIZE, stack=(Visit(page="tasks"),))
    for key in ("j", "enter"):
        ui, _ = reduce(ui, key, looked_into(task_types=some_types()))

    assert ui.visit.page == "failures"
    seen = looked_into(jobs=some_jobs(failed_jobs(ui.visit)))
    assert [row.id[1] for row in page_of(seen, ui, T0).tables[0].rows] == ["beef42"]


def test_a_source_leads_to_its_queues() -> None:
    two = replace(source(Reading(taken_at=T0, queues=(QueueReading(name="x"),)), "b"), info=INFO)
    seen = frame(*usual_frame().snapshot.sources, two)
    ui = Ui(size=SIZE, stack=(Visit(page="sources"),))
    for key in ("j", "enter"):
        ui, _ = reduce(ui, key, seen)

    assert [row.id for row in page_of(seen, ui, T0).tables[0].rows] == [("b", "x")]


def test_a_finding_leads_to_what_it_is_about() -> None:
    ui = Ui(size=SIZE, stack=(Visit(page="findings"),))
    ui, _ = reduce(ui, "enter", usual_frame())

    assert ui.visit == Visit(page="queue", subject=("a", "push"))


@given(st.sampled_from(PAGES), st.integers(1, 200), st.integers(1, 60))
def test_a_subject_of_nothing_is_no_fault(name: str, columns: int, rows: int) -> None:
    for visit in (Visit(page=name), Visit(page=name, subject=("x", "y"))):
        ui = Ui(size=Size(columns, rows), stack=(visit,))
        assert page_of(usual_frame(), ui, T0).tables
        assert page_of(frame(source(None)), ui, T0).tables


def test_before_the_first_reading_nothing_is_said_to_be_impossible() -> None:
    waiting = replace(source(None), info=replace(INFO, capabilities=frozenset[Capability]()))

    for name in ("tasks", "schedules", "failures"):
        assert page(Visit(page=name), frame(waiting)).tables[0].empty == "reading…"


def test_a_worker_reads_the_answer_rather_than_what_it_says() -> None:
    visit = JOBS_PAGES["worker"]
    seen = looked_into(jobs=some_jobs(jobs_of_worker(visit)))

    assert [row.id[1] for row in page(visit, seen).tables[0].rows] == ["77ab12"]


@pytest.mark.parametrize("name", FIRST_PAGES)
def test_of_a_prepared_frame_nothing_large_is_left_to_a_key(name: str) -> None:
    """Neither where it scrolls the page that is shown, nor where it leads back to the overview."""
    sorts = {"queues": Pane(sort=("depth", True), filter="mail", selected=("a", "mail"))}
    ui = Ui(size=SIZE, stack=(Visit(panes=sorts),)).first_page(name)
    seen = replace(usual_frame())
    at_once(preparing(seen, ui))
    prepared = set(seen.derived)

    for key in ("j", "1"):
        ui, _ = reduce(ui, key, seen)
        page_of(seen, ui, T0)
    found = {key if isinstance(key, str) else key[0] for key in seen.derived.keys() - prepared}
    assert not found & {"rows", "fields", "listed", "totals"}
