"""A forked process is what one of its own would be: arguments, environment, output, end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from fork_server import Forked, Process, start

SAYS = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.environ.get("WORD"), os.getcwd(), "json" in sys.modules]))
print("to stderr", file=sys.stderr)
sys.exit(3)
"""
# Short ones: a signal just before a sleep begins does not end it, and is heard after it.
STAYS = "import time\nfor _ in range(600):\n    time.sleep(0.1)\n"


def begin(folder: Path, text: str, *arguments: str, leads: bool = False) -> Process:
    (folder / "program.py").write_text(text)
    return start(
        "program",
        arguments,
        imported=("json", "no_such_module"),
        environment={"WORD": "ü", "PYTHONPATH": str(folder)},
        folder=folder,
        log=folder / "log",
        leads=leads,
    )


def test_it_is_told_everything_and_its_status_is_known(tmp_path: Path) -> None:
    process = begin(tmp_path, SAYS, "--one", "two words")

    assert process.wait(20) == process.returncode == process.poll() == 3
    said = (tmp_path / "log").read_text().splitlines()
    assert f'[["--one", "two words"], "\\u00fc", "{tmp_path}", true]' in said
    assert "to stderr" in said


def test_each_has_a_server_in_common_and_a_number_of_its_own(tmp_path: Path) -> None:
    processes = [begin(tmp_path, STAYS, leads=leads) for leads in (False, True)]

    assert all(isinstance(process, Forked) for process in processes)
    assert len({process.pid for process in processes} | {os.getpid()}) == 3
    with pytest.raises(subprocess.TimeoutExpired):
        processes[0].wait(0.05)
    for process in processes:
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
        # Nobody who was waited for is sent anything: the number may be another's.
        process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_at_once_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    for _ in range(20):
        process = begin(tmp_path, STAYS)
        process.send_signal(number)

        assert process.wait(20) != 0
