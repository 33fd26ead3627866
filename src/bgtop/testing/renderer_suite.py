# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""The tests every renderer has to pass, in a real terminal."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final, TypeVar

import pytest

from bgtop.contracts import Look, Size
from bgtop.page import Page
from bgtop.testing.renderer_pages import SAMPLE_PAGES
from bgtop.testing.renderer_process import RendererProcess, Stage, start_stage
from bgtop.view.text import clean
from bgworker.values import replace

Test = TypeVar("Test", bound="Callable[..., None]")
Open = Callable[..., RendererProcess]
Shared = Callable[[Size], RendererProcess]

SIZES: Final = (Size(80, 24), Size(120, 40), Size(40, 10), Size(200, 50), Size(20, 5))

_SEQUENCE: Final = re.compile(
    rb"\x1b\[[0-9;?<>=]*[ !]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78M]|[\r\n\b\t\x0e\x0f]"
)
_COLOR: Final = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9]+)*m")
_ENTER, _LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
_MOUSE_MODE: Final = re.compile(rb"\x1b\[\?[0-9;]*\b100[0-3]\b[0-9;]*([hl])")
_UNCHANGED: Final = 200
"""Bytes a page that did not change may cost: somebody watches over a slow line."""

_KEYS: Final[Mapping[str, bytes]] = {
    **{letter: letter.encode() for letter in ("j", "G", "/", " ", "ü", "日")},
    "pgup": b"\x1b[5~",
    "pgdn": b"\x1b[6~",
    "backtab": b"\x1b[Z",
    "f1": b"\x1bOP",
    "tab": b"\t",
    "enter": b"\r",
    "esc": b"\x1b",
    "backspace": b"\x7f",
    "ctrl+r": b"\x12",
    "ctrl+u": b"\x15",
}
_ARROWS: Final = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}


def needs_a_screen(test: Test) -> Test:
    """Collect a test only for renderers that take the terminal over."""
    test.__dict__["needs_a_screen"] = True
    return test


class RendererSuite:
    """Subclass it in a test module and say which plug-in it is. Needs pytest and pyte.

    A program opens the renderer on a pseudo-terminal; tests that end it, or ask it for something
    that is seldom asked for, start one of their own.
    """

    plugin: ClassVar[str]
    """Required: ``module:attribute`` of the :class:`bgtop.contracts.RendererPlugin`."""
    interactive: ClassVar[bool] = True
    """Whether it takes the terminal over and reads keys; without it those tests are left out."""
    term: ClassVar[str] = "xterm-256color"

    def pages(self, size: Size) -> Iterable[tuple[str, Page]]:  # noqa: ARG002 - for who overrides it
        """Pages to draw at a size, by what messages call them."""
        return SAMPLE_PAGES.items()

    def is_shown(self, page: Page, size: Size, process: RendererProcess) -> bool:
        """Whether this page is on the screen; override it to look closer."""
        if size.columns < 80 or page.overlay or page.dialog:
            return True
        names = [t.rows[0].cells[0].text for t in page.tables if t.focused and t.rows]
        return all(clean(name)[:8] in self._seen(process) for name in names)

    def _seen(self, process: RendererProcess) -> str:
        """What a reader sees: the screen, or all that went by."""
        return process.text if self.interactive else process.written.decode()

    def _is_seen(self, text: str, process: RendererProcess) -> bool:
        return text in self._seen(process)

    def _wait_for(self, name: str, page: Page, size: Size, process: RendererProcess) -> None:
        """What was written may be on its way for a moment on a machine that is busy."""
        process.wait(lambda: self.is_shown(page, size, process), f"{name} is shown at {size}")

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], terminal: int
    ) -> Stage:
        """Start the program that opens the renderer; override it to have it done elsewhere."""
        return start_stage(arguments, environment, terminal)

    def _process(self, look: Look, size: Size, environment: Mapping[str, str]) -> RendererProcess:
        return RendererProcess(self.plugin, look, size, environment, self.start)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.interactive:
            for name in dir(cls):
                if getattr(getattr(cls, name), "needs_a_screen", False):
                    setattr(cls, name, None)

    @pytest.fixture
    def opened(self) -> Iterator[Open]:
        """Opens the renderer in a terminal; everything is ended after the test."""
        made: list[RendererProcess] = []

        def opened(
            look: Look | None = None, size: Size = SIZES[0], **environment: str
        ) -> RendererProcess:
            variables = {"TERM": self.term, "NO_COLOR": "", "LC_ALL": "C.UTF-8", **environment}
            process = self._process(look or Look(), size, variables)
            made.append(process)
            return process

        yield opened
        for process in made:
            process.close()

    @pytest.fixture(scope="class")
    @classmethod
    def kept(cls) -> Iterator[dict[Size, RendererProcess]]:
        """Those that :meth:`shared` has opened."""
        made: dict[Size, RendererProcess] = {}
        yield made
        for process in made.values():
            process.close()

    @pytest.fixture
    def shared(self, kept: dict[Size, RendererProcess]) -> Shared:
        """Opens the renderer at a size, once; for tests after which it is as it was."""

        def shared(size: Size) -> RendererProcess:
            process = kept.get(size)
            if process is None or process.process.poll() is not None:
                variables = {"TERM": self.term, "NO_COLOR": "", "LC_ALL": "C.UTF-8"}
                process = kept[size] = self._process(Look(), size, variables)
                assert process.hear("open") == size
            return process

        return shared

    # What is shown

    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.columns}x{size.rows}")
    def test_pages_are_shown_and_never_obeyed(self, size: Size, shared: Shared) -> None:
        """Each page at each size; all that is no text is what terminals are told to do."""
        process = shared(size)

        for name, page in self.pages(size):
            process.order("draw", page)
            process.hear("drawn")
            self._wait_for(name, page, size, process)
        process.settle()

        left = _SEQUENCE.sub(b"", process.written).decode()
        assert left.isprintable(), sorted({each for each in left if not each.isprintable()})
        assert process.process.poll() is None

    def test_nothing_is_read_as_markup(self, shared: Shared) -> None:
        """Names are shown letter by letter."""
        process = shared(Size(120, 40))

        process.draw(SAMPLE_PAGES["one table"])

        for text in ("[bold red]x[/]", "[link=http://e]y", ":smile: *a*", r"red\x1b[31m"):
            process.wait(partial(self._is_seen, text, process), text)

    def test_ascii_is_kept_to(self, opened: Open) -> None:
        """``Look.ascii``: no letter beyond ASCII, whatever a page holds."""
        process = opened(Look(ascii=True), Size(120, 40))

        for page in SAMPLE_PAGES.values():
            process.draw(page)

        assert process.written.isascii()

    def test_no_colours_when_none_are_allowed(self, opened: Open) -> None:
        """``Look.color``; the terminal's own colours may be given back."""
        process = opened(Look(color=False))

        for page in SAMPLE_PAGES.values():
            process.draw(page)

        found = [code for code in _COLOR.findall(process.written) if not re.search(b"[34]9", code)]
        assert found == []

    @needs_a_screen
    def test_a_page_that_did_not_change_costs_next_to_nothing(self, shared: Shared) -> None:
        """Only what differs is written."""
        process = shared(Size(120, 40))
        for _ in range(2):
            process.draw(SAMPLE_PAGES["usual"])

        again = process.draw(replace(SAMPLE_PAGES["usual"]))

        assert len(again) <= _UNCHANGED

    # Keys

    @needs_a_screen
    def test_keys_come_by_name(self, shared: Shared) -> None:
        """Those the live view has a use for, and any letter."""
        process = shared(SIZES[0])
        process.draw(SAMPLE_PAGES["usual"])
        sent = {**_KEYS, **{name: process.arrow(letter) for name, letter in _ARROWS.items()}}

        for name, data in sent.items():
            process.type(data)
            assert process.hear("key") == name

    @needs_a_screen
    @pytest.mark.parametrize("sent", [b"\x1b[25;8~", b"\x1b[99;99;99M", b"\x00", b"\x1b[?62;c"])
    def test_a_key_nobody_knows_is_no_other_key(self, sent: bytes, shared: Shared) -> None:
        """Its letters are not taken for keys."""
        process = shared(SIZES[0])
        process.draw(SAMPLE_PAGES["usual"])

        process.type(sent + b"j")

        assert process.hear("key") == "j"

    @needs_a_screen
    def test_a_mouse_is_keys(self, shared: Shared) -> None:
        """A press of the first button, by the cell; the wheel; nothing else."""
        process = shared(SIZES[0])
        process.draw(SAMPLE_PAGES["usual"])

        process.type(b"\x1b[<0;12;5M\x1b[<0;12;5m")
        assert process.hear("key") == "click 11 4"
        process.type(b"\x1b[<64;3;3M\x1b[<65;4;3M" + b"j")
        heard = [process.hear("key") for _ in range(3)]
        assert heard == ["wheelup 2 2", "wheeldown 3 2", "j"]

    @needs_a_screen
    def test_the_mouse_is_left_alone_if_it_must_be(self, opened: Open) -> None:
        """``Look.mouse``."""
        process = opened(Look(mouse=False))
        process.draw(SAMPLE_PAGES["usual"])
        process.order("end")
        process.end()

        assert "h" not in {mode.decode() for mode in _MOUSE_MODE.findall(process.written)}

    def test_a_wait_ends_without_a_key(self, shared: Shared) -> None:
        """After the time, and at once by a wake from another thread: each order is one."""
        process = shared(SIZES[0])

        process.order("wait", 0.05)

        assert process.hear("waited") is None

    @needs_a_screen
    def test_another_size_is_a_key(self, opened: Open) -> None:
        """``resize``; the next page is drawn for the new size, and no letter is left over."""
        process = opened()
        process.draw(SAMPLE_PAGES["usual"])

        for size in (Size(120, 40), Size(41, 11), Size(100, 30)):
            process.resize(size)
            process.wait(lambda: "resize" in process.told_keys())
            process.order("draw", SAMPLE_PAGES["usual"])
            assert process.hear("drawn") == size
            self._wait_for("resized", SAMPLE_PAGES["usual"], size, process)

    # The end

    def _check_restored(self, process: RendererProcess) -> None:
        assert process.settings() == process.settings_before
        process.wait(
            lambda: process.written.count(_ENTER) == process.written.count(_LEAVE),
            "the other screen is left",
        )
        assert process.written.rfind(b"\x1b[?25l") <= process.written.rfind(b"\x1b[?25h")
        modes = _MOUSE_MODE.findall(process.written)
        assert modes[-1:] in ([], [b"l"])

    def test_closing_gives_the_terminal_back(self, opened: Open) -> None:
        """Its settings, its screen, its cursor, its mouse."""
        process = opened()
        process.draw(SAMPLE_PAGES["usual"])

        process.order("end")

        assert process.end() == 0
        self._check_restored(process)

    def test_a_fault_gives_the_terminal_back(self, opened: Open) -> None:
        """``close`` works in the middle of everything."""
        process = opened()
        process.draw(SAMPLE_PAGES["typing"])

        process.order("fail")

        process.hear("failed")
        assert process.end() == 0
        self._check_restored(process)

    @needs_a_screen
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_that_ends_us_is_told(self, number: signal.Signals, opened: Open) -> None:
        """By :class:`bgtop.contracts.Interrupted`, with its number."""
        process = opened()
        process.draw(SAMPLE_PAGES["usual"])

        process.send_signal(number)

        assert process.hear("interrupted") == number
        assert process.end() == 0
        self._check_restored(process)

    @needs_a_screen
    def test_a_terminal_that_can_do_nothing_is_refused(self, opened: Open) -> None:
        """By :class:`bgtop.contracts.NoTerminal`, before anything is written."""
        process = opened(TERM="dumb")

        assert process.hear("no terminal").isprintable()
        assert process.end() == 0
        assert b"\x1b" not in process.written
        self._check_restored(process)
