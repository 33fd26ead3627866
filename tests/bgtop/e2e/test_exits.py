"""However it ends, the terminal is as it was before."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_source import BGTOP, Script
from terminal import ENTER_SCREEN, LEAVE_SCREEN, Terminal

OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(open_terminal: OpenTerminal, script: Script) -> Terminal:
    terminal = open_terminal(script.url, "--interval", "0.2", TERM="xterm-256color")
    terminal.wait_for("mail", "Help")
    assert ENTER_SCREEN in terminal.written
    assert terminal.settings() != terminal.settings_before
    return terminal


def check_restored(terminal: Terminal) -> None:
    assert terminal.settings() == terminal.settings_before
    assert terminal.written.count(ENTER_SCREEN) == terminal.written.count(LEAVE_SCREEN) > 0
    after = terminal.written.rpartition(LEAVE_SCREEN)[0]
    shown, hidden = after.rfind(b"\x1b[?12l\x1b[?25h"), after.rfind(b"\x1b[?25l")
    assert shown > hidden, "the cursor is shown again"


def test_quitting(terminal: Terminal) -> None:
    terminal.press("q")

    assert terminal.end() == 0
    check_restored(terminal)


def test_control_c(terminal: Terminal) -> None:
    terminal.press("ctrl-c")

    assert terminal.end() == 130
    check_restored(terminal)


def test_an_impatient_control_c(terminal: Terminal) -> None:
    terminal.press(*["ctrl-c"] * 5)

    # Ctrl-C may find the program after it has given the terminal back and before its end.
    assert terminal.end() in {130, -signal.SIGINT}
    check_restored(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_us_are_seen_by_our_parent(
    number: signal.Signals, terminal: Terminal
) -> None:
    terminal.send_signal(number)

    assert terminal.end() == -number
    check_restored(terminal)


def test_an_unexpected_fault(terminal: Terminal, script: Script) -> None:
    script.write(nonsense=3)

    assert terminal.end() == 1
    check_restored(terminal)
    words = terminal.written.rpartition(LEAVE_SCREEN)[2].decode()
    assert "bgtop: unexpected AttributeError:" in words
    assert "Traceback" not in words


def test_an_unexpected_fault_with_its_traceback(
    open_terminal: OpenTerminal, script: Script
) -> None:
    terminal = open_terminal(script.url, "--interval", "0.2", "--verbose", TERM="xterm-256color")
    terminal.wait_for("mail")

    script.write(nonsense=3)

    assert terminal.end() == 1
    check_restored(terminal)
    assert b"Traceback" in terminal.written.rpartition(LEAVE_SCREEN)[2]


def test_a_terminal_that_goes_away_ends_the_program(terminal: Terminal) -> None:
    """As when an ssh connection breaks: the kernel hangs up, whoever reads gets nothing."""
    os.close(terminal.slave)
    os.close(terminal.master)

    assert terminal.process.wait(10) in {-signal.SIGHUP, 1}


@pytest.fixture
def shell(
    open_terminal: OpenTerminal, program: Callable[[str, str], str], script: Script
) -> Terminal:
    """A shell with job control in which the live view runs: only a job can be stopped."""
    bash = program("bash", "apt-get install bash")
    shell = open_terminal("--norc", "-i", command=(bash,), PS1="ready> ", columns=100, rows=30)
    shell.wait_for("ready>")
    shell.press("stty -g > before\r", f"'{BGTOP}' {script.url} --interval 0.2\r")
    shell.wait_for("mail", "push", "w1", "Help")
    return shell


@pytest.mark.parametrize("again", [1, 3])
def test_stop_and_continue(again: int, shell: Terminal, tmp_path: Path) -> None:
    for _ in range(again):
        shell.press("ctrl-z")
        shell.wait_for("Stopped", "ready>")
        shell.screen.reset()
        shell.press("stty -g > stopped\r", "fg\r")
        shell.wait_for("mail", "push", "w1", "Help")

    shell.press("j")
    shell.wait_for("QUEUE 2/2")
    shell.press("q")
    shell.press("stty -g > after; echo status $?\r")
    shell.wait_for("status 0")
    before = (tmp_path / "before").read_text()
    assert (tmp_path / "stopped").read_text() == before
    assert (tmp_path / "after").read_text() == before


def test_a_size_changed_while_stopped_is_noticed(shell: Terminal) -> None:
    shell.press("ctrl-z")
    shell.wait_for("Stopped")
    shell.resize(60, 20)
    shell.press("fg\r")

    shell.wait(lambda: [line for line in shell.lines if line.startswith(" WORKER")])


def test_stopped_by_force_and_continued(terminal: Terminal) -> None:
    """SIGSTOP cannot be caught; after it the terminal may have been used by others."""
    terminal.send_signal(signal.SIGSTOP)
    terminal.wait(lambda: process_state(terminal) == "T")
    terminal.screen.reset()

    terminal.send_signal(signal.SIGCONT)

    terminal.wait_for("mail", "w1", "Help")


def process_state(terminal: Terminal) -> str:
    with open(f"/proc/{terminal.process.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
