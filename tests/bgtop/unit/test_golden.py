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

import pytest
from frames import T0, frame, queues, source, usual_frame

from bgtop.contracts import Size
from bgtop.model import Failure, Frame
from bgtop.renderers.plain import text_of
from bgtop.view.layout import layout
from bgtop.view.pages import page_of
from bgtop.view.ui import Editing, Pane, Ui

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


def test_ascii_screen() -> None:
    size = Size(120, 24)
    screen = layout(page_of(down(), Ui(size=size), NOW), size, ascii_letters=True)

    lines = ["".join([span.text for span in line]).rstrip() for line in screen.lines]
    compare("ascii-120x24.txt", "".join([f"{line}\n" for line in lines]))


def test_plain_text() -> None:
    compare("plain.txt", text_of(page_of(usual_frame(), Ui(), T0)))


def test_plain_text_of_several_sources() -> None:
    compare("plain-several.txt", text_of(page_of(several(), Ui(), T0)))
