"""The command with each of its renderers, in a real terminal."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_source import BGTOP, Script
from terminal import Terminal

OpenTerminal = Callable[..., Terminal]
WHOLE = ["curses", "rich", "textual"]


@pytest.mark.parametrize("renderer", WHOLE)
def test_a_session(renderer: str, open_terminal: OpenTerminal, script: Script) -> None:
    """Keys, a click, a line that is typed, another size, news, the end."""
    names = [f"queue-{number:02}" for number in range(30)]
    script.queues(*names, "[red]x[/]", workers=[{"name": "w1", "beat": 1, "running": 0}])
    arguments = ("--renderer", renderer, "--interval", "0.2")
    terminal = open_terminal(script.url, *arguments, columns=120, TERM="xterm-256color")
    terminal.wait_for("queue-05", "w1", "Help", "[red]x[/]")

    terminal.press("j", "j")
    terminal.wait_for("QUEUE 3/31")
    row = next(row for row, line in enumerate(terminal.lines) if "queue-07" in line)
    terminal.press(f"\x1b[<0;4;{row + 1}M\x1b[<0;4;{row + 1}m")
    terminal.wait(lambda: "QUEUE 9/31" in terminal.text)
    terminal.press("/", "2", "9")
    terminal.wait_for("filter queues: 29")
    terminal.press("enter")
    terminal.wait(lambda: "queue-05" not in terminal.text)
    terminal.resize(60, 20)
    terminal.wait(lambda: [line for line in terminal.lines if line.startswith(" WORKER")])
    script.queues("fresh-29")
    terminal.wait_for("fresh-29")
    terminal.press("esc", "q")

    assert terminal.end() == 0
    assert terminal.settings() == terminal.settings_before


@pytest.mark.parametrize("renderer", WHOLE)
def test_told_to_end(renderer: str, open_terminal: OpenTerminal, script: Script) -> None:
    terminal = open_terminal(script.url, "--renderer", renderer, TERM="xterm-256color")
    terminal.wait_for("mail", "Help")

    terminal.send_signal(signal.SIGTERM)

    assert terminal.end() == -signal.SIGTERM
    assert terminal.settings() == terminal.settings_before


@pytest.mark.parametrize("renderer", ["rich", "textual"])
def test_stop_and_continue(
    renderer: str,
    open_terminal: OpenTerminal,
    program: Callable[[str, str], str],
    script: Script,
) -> None:
    bash = program("bash", "apt-get install bash")
    shell = open_terminal(
        "--norc", "-i", command=(bash,), PS1="ready> ", columns=100, rows=30, TERM="xterm-256color"
    )
    shell.wait_for("ready>")
    shell.press(f"'{BGTOP}' {script.url} --renderer {renderer}\r")
    shell.wait_for("mail", "push", "Help")

    shell.press("ctrl-z")
    shell.wait_for("Stopped")
    shell.screen.reset()
    shell.press("fg\r")
    shell.wait_for("mail", "push", "w1", "Help")

    shell.press("j")
    shell.wait_for("QUEUE 2/2")
    shell.press("q")
    shell.wait_for("ready>")
    shell.press("echo status $?\r")
    shell.wait_for("status 0")


def test_plain_text_goes_on_below(open_terminal: OpenTerminal, script: Script) -> None:
    arguments = ("--renderer", "plain", "--interval", "0.2")
    terminal = open_terminal(script.url, *arguments, TERM="dumb")
    terminal.wait(lambda: terminal.written.count(b"QUEUE") > 2)

    terminal.press("ctrl-c")

    assert terminal.end() == 130
    assert b"\x1b" not in terminal.written


def test_one_that_lacks_its_library_says_what_to_install(
    open_terminal: OpenTerminal, script: Script, tmp_path: Path
) -> None:
    """As without the extra: an import of it fails."""
    broken = tmp_path / "site" / "textual"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no module named textual')")
    terminal = open_terminal(script.url, "--renderer", "textual", columns=150)

    assert terminal.end() == 2
    assert b"try: pip install 'bgtop[textual]'" in terminal.written
