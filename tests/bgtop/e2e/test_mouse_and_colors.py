"""The mouse and the colours of the configuration, in a real terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_source import Script
from terminal import LEAVE_SCREEN, Terminal

OpenTerminal = Callable[..., Terminal]
NAMES = [f"queue-{number:02}" for number in range(30)]
REPORTS_ON, REPORTS_OFF = b"\x1b[?1006;1000h", b"\x1b[?1006;1000l"
WHEEL_UP, WHEEL_DOWN = "\x1b[<64;5;5M", "\x1b[<65;5;5M"


def press_at(terminal: Terminal, text: str) -> None:
    """Press and release the first button on this text, as xterm tells it."""
    row = next(row for row, line in enumerate(terminal.lines) if text in line)
    column = terminal.lines[row].index(text)
    terminal.press(f"\x1b[<0;{column + 1};{row + 1}M\x1b[<0;{column + 1};{row + 1}m")


@pytest.fixture
def terminal(open_terminal: OpenTerminal, script: Script) -> Terminal:
    script.queues(*NAMES, workers=[{"name": "w1", "beat": 1, "running": 0}])
    options = ("--interval", "0.5")
    terminal = open_terminal(script.url, *options, columns=120, TERM="xterm-256color", forked=True)
    terminal.wait_for("queue-07", "w1", "Help")
    return terminal


def test_a_click_selects_and_a_second_one_opens(terminal: Terminal) -> None:
    press_at(terminal, "queue-07")
    terminal.wait_for("QUEUE 8/30")

    press_at(terminal, "queue-07")
    terminal.wait_for("› queue queue-07")


def test_the_wheel_moves(terminal: Terminal) -> None:
    terminal.press(*[WHEEL_DOWN] * 3, WHEEL_UP)

    terminal.wait_for("QUEUE 3/30")


def test_a_tab_and_a_hint_can_be_clicked(terminal: Terminal) -> None:
    press_at(terminal, "5 Sources")
    terminal.wait_for("[5 Sources]")

    press_at(terminal, "Help")
    terminal.wait_for("bgtop help")


def test_the_mouse_is_given_back(terminal: Terminal) -> None:
    assert REPORTS_ON in terminal.written
    terminal.press("q")

    assert terminal.end() == 0
    assert terminal.written.count(REPORTS_ON) == terminal.written.count(REPORTS_OFF)
    assert terminal.written.index(REPORTS_OFF) < terminal.written.rindex(LEAVE_SCREEN)


@pytest.mark.parametrize("wish", ["option", "environment"])
def test_the_mouse_is_left_alone_on_request(
    wish: str, open_terminal: OpenTerminal, script: Script
) -> None:
    arguments = ["--no-mouse"] if wish == "option" else []
    more = {"BGTOP_NO_MOUSE": "yes"} if wish == "environment" else {}
    terminal = open_terminal(script.url, *arguments, TERM="xterm-256color", **more)
    terminal.wait_for("mail")
    terminal.press("q")
    terminal.end()

    assert b"\x1b[?1000" not in terminal.written
    assert b"\x1b[?1006" not in terminal.written


def test_colours_of_the_configuration(
    open_terminal: OpenTerminal, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "home/.bgtoprc").write_text(
        "[DEFAULT]\ntheme = light\n[colors]\nheading = 16 on 208\n"
    )
    terminal = open_terminal(script.url, TERM="xterm-256color")
    terminal.wait_for("mail")

    assert b"48;5;208m" in terminal.written
    assert b"\x1b[38;5;255m\x1b[48;5;25m" in terminal.written, "the title, of the light theme"


def test_an_unknown_renderer_is_named_with_those_there_are(
    open_terminal: OpenTerminal, script: Script
) -> None:
    terminal = open_terminal(script.url, "--renderer", "paper")

    assert terminal.end() == 2
    assert b"unknown renderer 'paper'; known: curses, plain, rich, textual" in terminal.written
