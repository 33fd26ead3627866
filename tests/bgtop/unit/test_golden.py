"""Golden screens: what people see, letter by letter.

After a wanted change, ``BGTOP_WRITE_GOLDEN=1 pytest tests/bgtop/unit/test_golden.py`` writes the
files anew; their difference is then part of the review.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from frames import (
    T0,
    usual_frame,
)
from golden_pages import NOW, PAGES, SCREENS, down, several

from bgtop.contracts import Size
from bgtop.renderers.plain import text_of
from bgtop.view.layout import layout
from bgtop.view.pages import PAGES as ALL_PAGES
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui

FOLDER = Path(__file__).parents[1] / "golden"
SIZES = (Size(80, 24), Size(120, 40), Size(40, 10))


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
