"""The emulator shows what the one it is made from shows, by a shorter way."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgtop.testing.emulator import EmulatedScreen, Emulator

PARTS = (
    *("hello", "x" * 25, "日本", "é", "e\u0301", "~", "\r\n", "\b", "\t"),
    *("\x1b[3;5H", "\x1b[K", "\x1b[1J", "\x1b[2J", "\x1b[L", "\x1b[M", "\x1b[2P", "\x1b[3X"),
    *("\x1b[4h", "\x1b[4l", "\x1b(0", "\x1b(B", "\x0e", "\x0f", "\x1b[2;4r", "\x1b[r", "\x1bM"),
    *("\x1b[1;31m", "\x1b[m", "\x1b[?7l", "\x1b[?7h", "\x1bc", "\x1b[?5h", "\x1b[?5l"),
    *("█·━ –", "日本語-全角" * 3, "é" * 45, "\x1b[38;5;9;7m", "\x1b[;H", "\x1b", "[3", ";2", "m"),
    *("\x1b[99999C", "\x1b[2;2$x", "\x1b[1\r;2H", "\x1b]0;title\x07"),
)


@given(st.lists(st.sampled_from(PARTS), max_size=20))
@example(["\x1b[4h", "hello", "\r", "hello"])
@example(["\x1b(0", "hello"])
@example(["\x1b[3;5H", "x" * 25, "hello"])
def test_it_shows_what_pyte_shows(parts: list[str]) -> None:
    screen, theirs = EmulatedScreen(20, 5), pyte.Screen(20, 5)
    ours, reference = Emulator(screen), pyte.ByteStream(theirs)
    for part in parts:
        ours.feed(part.encode())
        reference.feed(part.encode())
        assert screen.buffer == theirs.buffer
        assert screen.text == cells_of(theirs)


def cells_of(screen: pyte.Screen) -> str:
    """What is in its cells: its own picture fails where half of a wide letter was overwritten."""
    rows = [screen.buffer[row] for row in range(screen.lines)]
    lines = ["".join([row[at].data for at in range(screen.columns)]) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def test_wide_letters_are_shown_as_pyte_shows_them() -> None:
    screen, theirs = EmulatedScreen(20, 5), pyte.Screen(20, 5)
    for stream in (Emulator(screen), pyte.ByteStream(theirs)):
        stream.feed("日本 e\u0301 hello\r\nx".encode())

    assert screen.text == "\n".join(line.rstrip() for line in theirs.display)


@pytest.mark.parametrize("columns", [10, 40])
def test_another_size_is_shown_as_a_whole(columns: int) -> None:
    screen = EmulatedScreen(20, 3)
    Emulator(screen).feed(b"x" * 20 + b"y")
    assert screen.text == "x" * 20 + "\ny\n"

    screen.resize(4, columns)
    assert screen.text == "\n".join(line.rstrip() for line in screen.display)
