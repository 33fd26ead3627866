"""The pages that golden files are of: every screen and every page, at one moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from frames import (
    T0,
    frame,
    looked_into,
    queues,
    some_jobs,
    some_schedules,
    some_types,
    source,
    usual_frame,
)

from bgtop.model import Failure, Frame
from bgtop.page import RowId
from bgtop.view.keys import reduce
from bgtop.view.subjects import failed_jobs, jobs_in_queue, jobs_of_worker, whole_job
from bgtop.view.ui import Editing, Pane, Ui, Visit

NOW = T0 + timedelta(seconds=2.5)


def down() -> Frame:
    """The same source, not answering for a while."""
    seen = usual_frame()
    failure = Failure(
        message="connection refused by localhost:6379",
        since=T0,
        retry_at=NOW + timedelta(seconds=3.2),
        attempts=4,
    )
    return replace(
        seen,
        snapshot=replace(
            seen.snapshot, sources=(replace(seen.snapshot.sources[0], failure=failure),)
        ),
    )


def several() -> Frame:
    warned = replace(queues("mail", "push"), warnings=("events are off: start workers with -E",))
    return frame(source(warned, "shop"), source(queues("mail"), "blog"), source(None, "attic"))


SCREENS: dict[str, Callable[[Ui], tuple[Frame, Ui]]] = {
    "usual": lambda ui: (usual_frame(), ui),
    "down": lambda ui: (down(), ui),
    "several": lambda ui: (several(), ui.at(replace(ui.visit, focus="workers"))),
    "waiting": lambda ui: (frame(source(None)), ui),
    "help": lambda ui: (usual_frame(), replace(ui, help=True)),
    "filter": lambda ui: (
        usual_frame(),
        replace(
            ui.with_pane("queues", Pane(filter="mail")),
            editing=Editing(text="mail(", before=""),
        ),
    ),
}


def looking(page: str, subject: RowId | None, **answers: Any) -> Callable[[Ui], tuple[Frame, Ui]]:
    return lambda ui: (looked_into(**answers), ui.at(Visit(page=page, subject=subject)))


def pressed(*keys: str) -> Callable[[Ui], tuple[Frame, Ui]]:
    """The overview of a system that can be looked into, after these keys."""

    def screen(ui: Ui) -> tuple[Frame, Ui]:
        seen = looked_into()
        for key in keys:
            ui, _ = reduce(ui, key, seen)
        return seen, ui

    return screen


IN_MAIL = Visit(page="queue", subject=("a", "mail"))
BUSY = Visit(page="worker", subject=("a", "celery@web-01.example.org"))
FAILED = Visit(page="job", subject=("a", "beef42"))

PAGES: dict[str, Callable[[Ui], tuple[Frame, Ui]]] = {
    "overview": looking("overview", None),
    "queue": looking("queue", IN_MAIL.subject, jobs=some_jobs(jobs_in_queue(IN_MAIL))),
    "queue-reading": looking("queue", IN_MAIL.subject),
    "worker": looking("worker", BUSY.subject, jobs=some_jobs(jobs_of_worker(BUSY))),
    "job": looking("job", FAILED.subject, jobs=some_jobs(whole_job(FAILED))),
    "tasks": looking("tasks", None, task_types=some_types()),
    "schedules": looking("schedules", None, schedules=some_schedules()),
    "failures": looking("failures", None, jobs=some_jobs(failed_jobs(Visit()))),
    "sources": looking("sources", None, warnings=("events are off: start workers with -E",)),
    "findings": looking("findings", None, warnings=("events are off: start workers with -E",)),
    "question": pressed("j", " ", " ", "P"),
    "sorted": pressed(">", ">", "p", "/", "d", "e", "p", "t", "h", ">", "9", "9", "enter"),
}
