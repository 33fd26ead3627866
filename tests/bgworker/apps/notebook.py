"""What tasks write down for a test to read."""

from __future__ import annotations

import os


def note(path: str, text: str) -> None:
    """One line in a file, whole even when several processes write."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)
