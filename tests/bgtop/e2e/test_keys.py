"""Every key of the help does in a real terminal what the help says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scripted_source import Script
from terminal import Terminal

from bgtop.view.ui import COMMANDS

OpenTerminal = Callable[..., Terminal]
NAMES = [f"queue-{number:02}" for number in range(60)]


@pytest.fixture
def terminal(open_terminal: OpenTerminal, script: Script) -> Terminal:
    """The live view of sixty queues and two workers, side by side."""
    workers = [{"name": f"worker-{number}", "beat": 1, "running": 0} for number in range(2)]
    script.queues(*NAMES, workers=workers)
    terminal = open_terminal(script.url, "--interval", "0.2", columns=120)
    terminal.wait_for("queue-00", "worker-1")
    return terminal


# The keys that are pressed, and the row that is selected then. 24 rows show 19 queues.
MOVES = {
    "down": (["down"], "queue-01"),
    "j": (["j", "j"], "queue-02"),
    "up": (["j", "j", "up"], "queue-01"),
    "k": (["j", "j", "k"], "queue-01"),
    "pgdn": (["pgdn"], "queue-19"),
    "pgup": (["pgdn", "pgdn", "pgup"], "queue-19"),
    "end": (["end"], "queue-59"),
    "G": (["G"], "queue-59"),
    "home": (["end", "home"], "queue-00"),
    "g": (["end", "g"], "queue-00"),
    "tab": (["tab", "j"], "worker-1"),
    "backtab": (["tab", "backtab", "j"], "queue-01"),
}


@pytest.mark.parametrize("key", MOVES)
def test_moves(key: str, terminal: Terminal) -> None:
    keys, row = MOVES[key]

    terminal.press(*keys)

    terminal.wait(lambda: row in terminal.selected())


def test_the_keys_of_the_help_are_all_tried_here() -> None:
    documented = {key for command in COMMANDS for key in command.keys}

    assert documented - set(MOVES) == {"/", "esc", "?", "f1", "q"}


def test_slash_filters_while_typing_and_enter_keeps(terminal: Terminal) -> None:
    terminal.press("/", "5")
    terminal.wait_for("filter queues: 5", "queue-05", "queue-59")
    assert "queue-04" not in terminal.text

    terminal.press("9")
    terminal.wait(lambda: "queue-05" not in terminal.text)

    terminal.press("enter")
    terminal.wait_for("QUEUE /59 1/1", "Help")


def test_escape_takes_back_what_was_typed_and_then_drops_the_filter(terminal: Terminal) -> None:
    terminal.press("/", "59", "enter", "/", "backspace", "8")
    terminal.wait_for("queue-58")

    terminal.press("esc")
    terminal.wait_for("QUEUE /59 1/1", "Help")

    terminal.press("esc")
    terminal.wait_for("QUEUE 1/60")


def test_an_exclamation_mark_inverts_a_filter(terminal: Terminal) -> None:
    terminal.press("/", "!queue-[0-4]")

    terminal.wait_for("queue-50", "queue-59")
    assert "queue-49" not in terminal.text


def test_a_bad_filter_is_told_in_words_and_does_no_harm(terminal: Terminal) -> None:
    terminal.press("/", "queue-5(")
    terminal.wait_for("not a pattern: missing )", "queue-50")

    terminal.press("ctrl-u")
    terminal.wait(lambda: "not a pattern" not in terminal.text)
    terminal.wait_for("queue-00")


def test_the_cursor_is_where_one_types(terminal: Terminal) -> None:
    assert terminal.screen.cursor.hidden

    terminal.press("/", "abc")
    terminal.wait_for("filter queues: abc")

    cursor = terminal.screen.cursor
    assert not cursor.hidden
    assert terminal.lines[cursor.y][: cursor.x].endswith(": abc")


def test_letters_beyond_ascii_can_be_typed(terminal: Terminal) -> None:
    terminal.press("/", "ü日")

    terminal.wait_for("filter queues: ü日")


@pytest.mark.parametrize("key", ["?", "f1"])
@pytest.mark.parametrize("closing", ["esc", "x"])
def test_help_opens_and_any_key_closes_it(key: str, closing: str, terminal: Terminal) -> None:
    terminal.press(key)
    terminal.wait_for("bgtop help", "regex filter", "since its last heartbeat")

    terminal.press(closing)
    terminal.wait_for("QUEUE 1/60")


def test_q_quits(terminal: Terminal) -> None:
    terminal.press("q")

    assert terminal.end() == 0


@pytest.mark.parametrize("key", ["\x1b[15~", "\x1bx", "x", "\x00", "\x01", "\x1b[99;99;99M"])
def test_keys_nobody_knows_do_no_harm(key: str, terminal: Terminal) -> None:
    terminal.press(key, "j")

    terminal.wait(lambda: "queue-01" in terminal.selected())


def test_a_key_nobody_knows_can_be_held_down(terminal: Terminal) -> None:
    for _ in range(60):
        terminal.press("\x1b[2~")
        terminal.read(0.005)

    terminal.press("j")
    terminal.wait(lambda: "queue-01" in terminal.selected())


def test_control_l_draws_everything_anew(terminal: Terminal) -> None:
    terminal.screen.erase_in_display(2)
    assert "queue-00" not in terminal.text

    terminal.press("ctrl-l")

    terminal.wait_for("queue-00", "worker-1", "Help")


def test_only_what_changed_is_written(terminal: Terminal) -> None:
    """The screen has some 2,800 cells; a second and a key change a few dozen."""
    terminal.wait(lambda: "data 1s old" not in terminal.text)
    written = len(terminal.written)

    terminal.press("j")
    terminal.wait(lambda: "queue-01" in terminal.selected())

    assert len(terminal.written) - written < 900
