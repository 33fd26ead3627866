"""How little is written to a terminal, as over a slow line: the benchmark's own figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks/screen.py"


@pytest.mark.parametrize("term", ["xterm-256color", "tmux-256color", "linux"])
def test_a_refresh_writes_little(term: str) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--queues", "20", "--workers", "5", "--term", term],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )

    figures = json.loads(done.stdout.splitlines()[-1])
    assert 0 < figures["unchanged_bytes"] <= 200
    assert figures["unchanged_bytes"] < figures["changed_bytes"] <= 1000
    assert figures["changed_bytes"] < figures["first_bytes"]
