"""What terminals of all kinds and sizes show, and what hostile names cannot do to them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from scripted_source import Script
from terminal import Terminal

from bgtop.testing import HOSTILE_NAMES

OpenTerminal = Callable[..., Terminal]

# Everything a terminal obeys in what ncurses writes: sequences, character sets, plain controls.
SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78M]|[\r\n\b\t\x0e\x0f]")
COLOR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])(?:;[0-9]+)*m")


def test_a_storm_of_sizes(open_terminal: OpenTerminal, script: Script) -> None:
    """Any size down to 10x3, keys in between: it goes on, and what it shows last fits."""
    script.queues(*[f"queue-{number}" for number in range(40)], workers=[{"name": "w1"}])
    terminal = open_terminal(script.url, "--interval", "0.1", forked=True)
    terminal.wait_for("queue-0")
    dice = random.Random(20261121)
    for _ in range(80):
        terminal.resize(dice.randint(10, 160), dice.randint(3, 60))
        terminal.press(dice.choice(["j", "pgdn", "tab", "G", "?", "x", "/", "esc", "g"]))
        terminal.read(0.005)
        assert terminal.process.poll() is None, terminal.text

    terminal.resize(30, 5)
    terminal.wait_for("terminal too small", "30x5, needs 40x10")
    terminal.resize(100, 30)
    terminal.press("esc")
    terminal.wait_for("QUEUE ", "WORKER ", "queue-", "Help")
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (80, 24), (120, 40), (1, 1), (10, 3)])
def test_sizes(columns: int, rows: int, open_terminal: OpenTerminal, script: Script) -> None:
    terminal = open_terminal(script.url, columns=columns, rows=rows, forked=True)

    terminal.wait(lambda: "mail" in terminal.text or columns < 40)

    terminal.press("j", "q")
    assert terminal.end() == 0


@pytest.mark.parametrize(
    "term",
    ["xterm-256color", "xterm", "screen-256color", "tmux-256color", "linux", "vt100", "ansi"],
)
def test_terminal_types(term: str, open_terminal: OpenTerminal, script: Script) -> None:
    terminal = open_terminal(script.url, TERM=term)

    terminal.wait(lambda: b"mail" in terminal.written and b"Help" in terminal.written)

    terminal.press("q")
    assert terminal.end() == 0
    if term == "linux":
        # The picture stays, but for the line in which the shell goes on.
        assert [line for line in terminal.lines if "mail" in line]
        assert terminal.lines[-1].strip() == ""


@pytest.mark.parametrize("term", ["dumb", "nobody-knows-this", ""])
def test_a_terminal_that_can_do_nothing_gets_one_snapshot(
    term: str, open_terminal: OpenTerminal, script: Script
) -> None:
    terminal = open_terminal(script.url, TERM=term)

    assert terminal.end() == 0

    assert b"one snapshot instead of the live view" in terminal.written
    assert [line for line in terminal.lines if line.startswith("QUEUE")]
    assert b"\x1b" not in terminal.written


def test_hostile_names_are_shown_and_not_obeyed(
    open_terminal: OpenTerminal, script: Script
) -> None:
    names = [*HOSTILE_NAMES, "\x1b]0;title\x07", "\x1b[2J\x1b[H", "a\nb", "\u202egnp", "\x9b31m"]
    names = list(dict.fromkeys(names))
    workers = [{"name": name, "beat": 1} for name in names]
    script.queues(*names, workers=workers, warnings=names[:3], version="\x1b[31m7\n")
    terminal = open_terminal(script.url, columns=150, rows=60, forked=True)

    terminal.wait_for(r"\x1b]0;title\x07", r"\x1b[2J", r"a\x0ab", r"\u202egnp", r"\x9b31m")

    terminal.press("tab", "G", "/", "x", "enter")
    terminal.wait_for("WORKER /x")
    terminal.press("q")
    assert terminal.end() == 0
    left = SEQUENCE.sub(b"", terminal.written).decode()
    assert left.isprintable(), sorted({letter for letter in left if not letter.isprintable()})
    assert b"\x1b]" not in terminal.written


def test_hostile_failures_are_harmless_too(open_terminal: OpenTerminal, script: Script) -> None:
    script.write(fail="\x1b[2Jgone\x07\nand more")
    terminal = open_terminal(script.url, forked=True)

    terminal.wait_for(r"\x1b[2Jgone\x07\x0aand more")


def colors(terminal: Terminal) -> list[bytes]:
    # 39;49m gives the terminal's own colours back; programs without colours write it as well.
    found = COLOR.findall(terminal.written)
    return [code for code in found if not re.search(rb"[34]9", code)]


@pytest.mark.parametrize("wish", ["option", "environment", "configuration"])
def test_no_colors_when_the_user_wants_none(
    wish: str, open_terminal: OpenTerminal, script: Script
) -> None:
    arguments = ["--no-color"] if wish == "option" else []
    more = {"NO_COLOR": "1"} if wish == "environment" else {}
    if wish == "configuration":
        more["BGTOP_NO_COLOR"] = "yes"
    terminal = open_terminal(script.url, *arguments, TERM="xterm-256color", **more)
    terminal.wait_for("mail")
    terminal.press("/", "x", "enter", "?", "q", "q")
    terminal.end()

    assert colors(terminal) == []
    assert re.search(rb"\x1b\[(?:0;)?(?:1;)?7m", terminal.written), "headings are in reverse video"


def test_colors_otherwise(open_terminal: OpenTerminal, script: Script) -> None:
    terminal = open_terminal(script.url, TERM="xterm-256color", NO_COLOR="")
    terminal.wait_for("mail")

    assert colors(terminal)


@pytest.mark.parametrize("wish", ["option", "LC_ALL", "LANG"])
def test_ascii_when_the_locale_knows_no_more(
    wish: str, open_terminal: OpenTerminal, script: Script
) -> None:
    script.queues("café", workers=[{"name": "w1", "beat": 1}])
    arguments = ["--ascii"] if wish == "option" else []
    more = {"LC_ALL": "" if wish == "LANG" else "C", "LANG": "C"} if wish != "option" else {}
    terminal = open_terminal(script.url, *arguments, columns=120, **more)

    terminal.wait_for(r"caf\xe9", "|", "-")

    terminal.press("q")
    terminal.end()
    assert terminal.written.isascii()


def test_a_source_goes_down_and_comes_back(open_terminal: OpenTerminal, script: Script) -> None:
    terminal = open_terminal(script.url, "--interval", "0.2", columns=100, forked=True)
    terminal.wait_for("mail", " OK ")

    script.write(fail="connection refused by h:6379")
    terminal.wait_for(" DOWN  connection refused by h:6379 · data ", "old · retry in", "mail")
    terminal.wait_for("attempt 2")

    script.queues("mail", "fresh")
    terminal.wait_for(" OK ", "fresh")


def test_a_backend_with_a_fault_is_a_source_that_is_down(
    open_terminal: OpenTerminal, script: Script
) -> None:
    terminal = open_terminal(script.url, "--interval", "0.2", "--verbose", columns=120, forked=True)
    terminal.wait_for("mail")

    script.write(crash="a bug")
    terminal.wait_for("DOWN", "fault in the backend: ZeroDivisionError: a bug")

    terminal.press("q")
    assert terminal.end() == 0
    assert b'raise ZeroDivisionError(script["crash"])' in terminal.written


def test_several_sources_on_one_screen(open_terminal: OpenTerminal, script: Script) -> None:
    other = Script(script.path.with_name("other.json"))
    other.write(fail="not there")
    terminal = open_terminal(script.url, other.url, columns=140, forked=True)

    terminal.wait_for("2 sources", "SOURCE", "DOWN  other.json: not there", "OK  script.json")
    assert [line for line in terminal.lines if line.startswith(" mail") and "script.json" in line]


def test_limits_say_what_they_hide(open_terminal: OpenTerminal, script: Script) -> None:
    terminal = open_terminal(script.url, "--max-queues", "1", forked=True)

    terminal.wait_for("1 more queue hidden by max_queues", "Queues 2")
