"""The live view's last hour: the next one begins with it, and nothing that is wrong stops it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_source import Script
from terminal import Terminal

from bgtop.playback import Playback
from bgtop.view.text import BLOCKS

Open = Callable[..., Terminal]
WIDE = {"columns": 120, "rows": 40, "forked": True}


@pytest.fixture
def folder(environment: dict[str, str]) -> Path:
    """Where histories are kept; they are switched on."""
    Path(environment["HOME"], ".bgtoprc").write_text("history = on\n")
    return Path(environment["HOME"], ".local/state/bgtop/history")


def counted(script: Script, depth: int, entered: int) -> None:
    script.write(
        queues=[{"name": "mail", "depth": depth, "entered_total": entered, "left_total": 0}],
        workers=[{"name": "w1", "beat": 1, "running": 0}],
    )


def file_of(folder: Path) -> Path:
    [file] = folder.glob("*.bgtop")
    return file


def recorded(folder: Path) -> list[Any]:
    try:
        playback = Playback(str(file_of(folder)))
        known = playback.seek(playback.end)
        playback.close()
    except Exception:  # noqa: BLE001 - not there yet
        return []
    return [source.reading for source in known.snapshot.sources if source.reading]


def quit_(terminal: Terminal) -> None:
    terminal.press("q")
    assert terminal.end() == 0


def test_rates_and_sparklines_survive_a_restart(
    open_terminal: Open, script: Script, folder: Path
) -> None:
    counted(script, 3, 100)
    first = open_terminal(script.url, "--interval", "0.2", **WIDE)
    first.wait_for("mail")
    counted(script, 9, 900)
    first.wait(lambda: any(reading.queues[0].depth == 9 for reading in recorded(folder)))
    quit_(first)
    assert file_of(folder).stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder) == [file_of(folder).name]

    counted(script, 9, 1000)
    # A minute between two readings: what is told of rates is from before.
    second = open_terminal(script.url, "--interval", "60", columns=180, forked=True)
    second.wait_for("mail", BLOCKS[2])  # three of nine, which this one has not seen
    assert re.search(r"In/s +[\d.]+", second.text)
    quit_(second)


def test_nothing_is_kept_unless_it_is_asked_for(
    open_terminal: Open, script: Script, environment: dict[str, str]
) -> None:
    terminal = open_terminal(script.url, "--interval", "0.2", **WIDE)
    terminal.wait_for("mail")
    quit_(terminal)

    assert not Path(environment["HOME"], ".local").exists()


@pytest.mark.parametrize("content", [b"dear diary", b"SQLite format 3\0" + bytes(500)])
def test_a_history_that_is_none_is_left_alone_with_a_word(
    open_terminal: Open, script: Script, folder: Path, content: bytes
) -> None:
    first = open_terminal(script.url, "--interval", "0.2", **WIDE)
    first.wait(lambda: recorded(folder))
    quit_(first)
    file_of(folder).write_bytes(content)

    second = open_terminal(script.url, "--interval", "0.2", columns=180, forked=True)
    second.wait_for("mail", "no history is kept: ", "is no recording")
    quit_(second)
    assert file_of(folder).read_bytes() == content


def test_a_damaged_history_stops_nothing(open_terminal: Open, script: Script, folder: Path) -> None:
    first = open_terminal(script.url, "--interval", "0.2", **WIDE)
    first.wait(lambda: recorded(folder))
    quit_(first)
    octets = bytearray(file_of(folder).read_bytes())
    octets[200:] = os.urandom(len(octets) - 200)
    file_of(folder).write_bytes(octets)

    second = open_terminal(script.url, "--interval", "0.2", columns=180, forked=True)
    second.wait_for("mail", "no history is kept: ")
    quit_(second)
    assert file_of(folder).read_bytes() == octets


def test_two_live_views_at_once(open_terminal: Open, script: Script, folder: Path) -> None:
    first = open_terminal(script.url, "--interval", "0.2", **WIDE)
    first.wait(lambda: recorded(folder))
    second = open_terminal(script.url, "--interval", "0.2", **WIDE)
    second.wait_for("mail")
    script.queues("later")
    second.wait_for("later")
    first.wait(lambda: any(r.queues[0].name == "later" for r in recorded(folder)))

    assert "no history" not in first.text + second.text
    quit_(second)
    quit_(first)
    assert recorded(folder)
