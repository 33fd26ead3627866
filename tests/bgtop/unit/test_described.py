"""Completion and the man page know what the parsers know."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bgtop.cli.commands import COMMANDS
from bgtop.cli.completion import SHELLS
from bgtop.cli.described import everything
from bgtop.cli.main import main
from bgtop.cli.man import page

ROOT = Path(__file__).parents[3]


def complete(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in ("bgtop", *words))
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _bgtop;"
        ' echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_options_and_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "bgtop"
    script.write_text(capsys.readouterr().out)

    assert complete(script, "sna") == ["snapshot"]
    assert complete(script, "--read") == ["--read-only"]
    assert complete(script, "cancel", "--t") == ["--terminate"]
    assert complete(script, "snapshot", "--format", "") == ["text", "json", "csv"]
    assert set(complete(script, "")) >= {command.name for command in COMMANDS}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_each_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out

    for one in everything():
        assert one.command.name in script
        for option in one.options:
            assert re.search(rf"(?:--|-l ){option.name[2:]}\b", script)
    checker = shutil.which(shell)
    if checker:
        subprocess.run([checker, "-n", "-c", script], check=True)


def test_the_man_page_is_the_one_that_is_installed() -> None:
    """``bgtop man > docs/man/bgtop.1`` brings it up to date."""
    assert (ROOT / "docs/man/bgtop.1").read_text() == page()


def test_the_man_page_has_all_commands_and_is_sound() -> None:
    text = page()

    assert re.findall(r"^\.SS (\S+)$", text, re.MULTILINE) == [c.name for c in COMMANDS]
    groff = shutil.which("groff")
    if groff:
        command = [groff, "-man", "-Tutf8", "-ww", "-z"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        assert done.stderr == ""
