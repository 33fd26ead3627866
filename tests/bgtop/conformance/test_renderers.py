"""The renderers of this project pass the tests that are for all, with every golden page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from golden_pages import NOW, PAGES, SCREENS

from bgtop.contracts import Size
from bgtop.page import Page
from bgtop.testing.renderer_pages import SAMPLE_PAGES
from bgtop.testing.renderer_process import RendererProcess
from bgtop.testing.renderer_suite import RendererSuite
from bgtop.view.layout import layout
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui

BAR = re.compile("[█·━╸╺]")


class WithGoldenPages(RendererSuite):
    plugin = ""

    def pages(self, size: Size) -> Iterator[tuple[str, Page]]:
        yield from SAMPLE_PAGES.items()
        for name, scene in {**SCREENS, **PAGES}.items():
            yield name, page_of(*scene(Ui(size=size, interval=5)), NOW)


class FullScreen(WithGoldenPages):
    def is_shown(self, page: Page, size: Size, process: RendererProcess) -> bool:
        """Every letter is in its cell; bars may be of other letters."""
        screen = layout(page, size)
        wanted = ["".join([span.text for span in line]).rstrip() for line in screen.lines]
        return BAR.sub("#", "\n".join(wanted)) == BAR.sub("#", process.text)


class TestCurses(FullScreen):
    plugin = "bgtop.renderers.curses:plugin"


class TestRich(FullScreen):
    plugin = "bgtop.renderers.rich:plugin"


class TestTextual(FullScreen):
    plugin = "bgtop.renderers.textual:plugin"


class TestPlain(WithGoldenPages):
    plugin = "bgtop.renderers.plain:plugin"
    interactive = False
