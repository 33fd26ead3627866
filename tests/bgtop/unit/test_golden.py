"""Golden screens: what people see, letter by letter.

After a wanted change, ``BGTOP_WRITE_GOLDEN=1 pytest tests/bgtop/unit/test_golden.py`` writes the
files anew; their difference is then part of the review.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
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

from bgtop.contracts import Size
from bgtop.model import Failure, Frame
from bgtop.page import RowId
from bgtop.renderers.plain import text_of
from bgtop.view.keys import reduce
from bgtop.view.layout import layout
from bgtop.view.pages import PAGES as ALL_PAGES
from bgtop.view.pages import page_of
from bgtop.view.subjects import failed_jobs, jobs_in_queue, jobs_of_worker, whole_job
from bgtop.view.ui import Editing, Pane, Ui, Visit

FOLDER = Path(__file__).parents[1] / "golden"
NOW = T0 + timedelta(seconds=2.5)
SIZES = (Size(80, 24), Size(120, 40), Size(40, 10))


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


def compare(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get("BGTOP_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{name} has changed; see the docstring of this file"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.columns}x{size.rows}")
@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str, size: Size) -> None:
    seen, ui = SCREENS[name](Ui(size=size, interval=5))

    screen = layout(page_of(seen, ui, NOW), size)

    lines = ["".join([span.text for span in line]).rstrip() for line in screen.lines]
    compare(f"{name}-{size.columns}x{size.rows}.txt", "".join([f"{line}\n" for line in lines]))


@pytest.mark.parametrize("ascii_letters", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.columns}x{size.rows}")
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, size: Size, ascii_letters: bool) -> None:
    seen, ui = PAGES[name](Ui(size=size, interval=5))

    screen = layout(page_of(seen, ui, NOW), size, ascii_letters=ascii_letters)

    lines = ["".join([span.text for span in line]).rstrip() for line in screen.lines]
    kind = "ascii-" if ascii_letters else ""
    text = "".join([f"{line}\n" for line in lines])
    compare(f"page-{name}-{kind}{size.columns}x{size.rows}.txt", text)
    assert text.isascii() or not ascii_letters


@pytest.mark.parametrize("name", PAGES)
def test_styles(name: str) -> None:
    """What each part of a page is drawn in, which is what colours are made of."""
    size = Size(80, 24)
    seen, ui = PAGES[name](Ui(size=size, interval=5))

    screen = layout(page_of(seen, ui, NOW), size)

    lines = [
        " ".join([f"{span.style.value}[{span.text}]" for span in line if span.text.strip()])
        for line in screen.lines
    ]
    compare(f"page-{name}-styles-80x24.txt", "".join([f"{line}\n" for line in lines]))


def test_there_is_a_golden_page_of_every_page() -> None:
    assert set(ALL_PAGES) <= set(PAGES)


def test_ascii_screen() -> None:
    size = Size(120, 24)
    screen = layout(page_of(down(), Ui(size=size), NOW), size, ascii_letters=True)

    lines = ["".join([span.text for span in line]).rstrip() for line in screen.lines]
    compare("ascii-120x24.txt", "".join([f"{line}\n" for line in lines]))


def test_plain_text() -> None:
    compare("plain.txt", text_of(page_of(usual_frame(), Ui(), T0)))


def test_plain_text_of_several_sources() -> None:
    compare("plain-several.txt", text_of(page_of(several(), Ui(), T0)))
