"""The tasks the real RQ workers of the tests run."""

from __future__ import annotations

import time
from pathlib import Path


def add(a: int, b: int) -> int:
    return a + b


def fail() -> None:
    raise ValueError("as asked for")


def wait(until: str) -> None:
    """Runs until the test makes this file; a minute is the end of any test."""
    deadline = time.monotonic() + 60
    while not Path(until).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
