"""Completion in the shells themselves, each with the script that is printed for it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgtop.cli.commands import COMMANDS

Open = Callable[..., Any]
Run = Callable[..., subprocess.CompletedProcess[str]]


def shell(name: str) -> str:
    """Where it is installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"apt-get install {name}")
    return found


def test_fish_completes_commands_options_and_values(run: Run, tmp_path: Path) -> None:
    fish = shell("fish")
    script = tmp_path / "bgtop.fish"
    script.write_text(run("completion", "fish").stdout)

    def offered(line: str) -> list[str]:
        """What it offers for the last word of each line, without the descriptions."""
        code = f"source {script}; complete -C '{line}'"
        done = subprocess.run(
            [fish, "--no-config", "-c", code], capture_output=True, text=True, check=True
        )
        return [one.partition("\t")[0] for one in done.stdout.splitlines()]

    assert offered("bgtop sna") == ["snapshot"]
    assert offered("bgtop --read") == ["--read-only"]
    assert offered("bgtop cancel --t") == ["--terminate"]
    assert set(offered("bgtop snapshot --format ")) == {"text", "json", "csv"}
    assert set(offered("bgtop ")) >= {command.name for command in COMMANDS}


def test_zsh_completes_commands_options_and_values(
    run: Run, open_terminal: Open, tmp_path: Path
) -> None:
    zsh = shell("zsh")
    functions = tmp_path / "functions"
    functions.mkdir()
    (functions / "_bgtop").write_text(run("completion", "zsh").stdout)
    (tmp_path / ".zshrc").write_text(
        f"fpath=({functions} $fpath); autoload -U compinit; compinit -D; PS1='ready> '\n"
        "setopt no_beep no_list_beep\n"
    )
    terminal = open_terminal(
        "-o", "no_global_rcs", "-i", command=(zsh,), columns=120, rows=40, ZDOTDIR=str(tmp_path)
    )
    terminal.wait_for("ready>")

    for typed, line in {
        "bgtop sna": "bgtop snapshot",
        "bgtop --read": "bgtop --read-only",
        "bgtop cancel --t": "bgtop cancel --terminate",
        "bgtop snapshot --format js": "bgtop snapshot --format json",
    }.items():
        terminal.press(f"{typed}\t")
        terminal.wait_for(f"ready> {line}")
        terminal.press("\x15")
        terminal.wait(lambda: terminal.lines[terminal.screen.cursor.y] == "ready>")
