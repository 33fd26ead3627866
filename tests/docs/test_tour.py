"""The pictures of the tour are golden pages, letter by letter.

``BGTOP_WRITE_GOLDEN=1 pytest tests/docs/test_tour.py`` puts them in.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bgtop.view.pages import PAGES

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "docs/tour.md"
MARK = re.compile(r"<!-- golden: (\S+) -->\n(?:```text\n.*?```\n)?", re.DOTALL)


def picture(mark: re.Match[str]) -> str:
    text = (ROOT / f"tests/bgtop/golden/{mark[1]}.txt").read_text()
    return f"<!-- golden: {mark[1]} -->\n```text\n{text}```\n"


def test_the_pictures_are_golden_pages() -> None:
    text = TOUR.read_text()
    drawn = MARK.sub(picture, text)
    if os.environ.get("BGTOP_WRITE_GOLDEN"):
        TOUR.write_text(drawn)
        text = drawn

    assert text == drawn


def test_every_page_is_on_the_tour() -> None:
    shown = {re.split(r"-\d", mark[1])[0] for mark in MARK.finditer(TOUR.read_text())}

    assert {f"page-{name}" for name in PAGES} <= shown
