"""The renderers of this project pass the tests that are for all, with every golden page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, lru_cache

from forked_stage import ForkedStage
from golden_pages import NOW, PAGES, SCREENS
from repeated import REPEATED

from bgtop.contracts import Size
from bgtop.page import Page
from bgtop.testing.renderer_pages import SAMPLE_PAGES
from bgtop.testing.renderer_process import RendererProcess
from bgtop.testing.renderer_suite import SIZES, RendererSuite, Shared
from bgtop.view.layout import layout
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui

BAR = re.compile("[█·━╸╺]")


class WithGoldenPages(ForkedStage, RendererSuite):
    plugin = ""

    def pages(self, size: Size) -> Iterator[tuple[str, Page]]:
        yield from SAMPLE_PAGES.items()
        if not REPEATED or size == SIZES[0]:
            yield from golden_pages(size)


@cache
def golden_pages(size: Size) -> list[tuple[str, Page]]:
    """The same for every renderer."""
    scenes = {**SCREENS, **PAGES}
    return [
        (name, page_of(*scene(Ui(size=size, interval=5)), NOW)) for name, scene in scenes.items()
    ]


class FullScreen(WithGoldenPages):
    def is_shown(self, page: Page, size: Size, process: RendererProcess) -> bool:
        """Every letter is in its cell; bars may be of other letters."""
        return wanted(page, size) == BAR.sub("#", process.text)


@lru_cache(maxsize=1)
def wanted(page: Page, size: Size) -> str:
    """The letters of a page; asked for until they are there."""
    lines = layout(page, size).lines
    text = "\n".join(["".join([span.text for span in line]).rstrip() for line in lines])
    return BAR.sub("#", text)


class Sparing(FullScreen):
    """Fit for a slow line."""

    plugin = ""

    def test_five_cells_that_changed_cost_less_than_a_kilobyte(self, shared: Shared) -> None:
        size = Size(120, 40)
        process = shared(size)
        page = SAMPLE_PAGES["usual"]
        for _ in range(2):
            process.draw(page)
        table = page.tables[0]
        rows = list(table.rows)
        for number in (0, 2, 5, 11, 17):
            name, depth, *others = rows[number].cells
            cells = (name, depth._replace(text=f"9{depth.text}"), *others)
            rows[number] = replace(rows[number], cells=cells)
        changed = replace(table, rows=tuple(rows))
        page = replace(page, tables=(changed, *page.tables[1:]))

        written = process.draw(page)

        self._wait_for("changed", page, size, process)
        assert 0 < len(written) <= 1000


class TestCurses(Sparing):
    plugin = "bgtop.renderers.curses:plugin"


class TestRich(Sparing):
    plugin = "bgtop.renderers.rich:plugin"


class TestTextual(FullScreen):
    plugin = "bgtop.renderers.textual:plugin"


class TestPlain(WithGoldenPages):
    plugin = "bgtop.renderers.plain:plugin"
    interactive = False
