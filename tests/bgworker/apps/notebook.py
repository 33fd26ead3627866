"""How tasks and their test speak with one another: in files."""

from __future__ import annotations

import os
import time


def wait_for(path: str) -> None:
    """Until the test makes this file; in small steps, so that an exception can come in between."""
    while not os.path.exists(path):
        time.sleep(0.005)


def note(path: str, text: str) -> None:
    """One line in a file, whole even when several processes write."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)
