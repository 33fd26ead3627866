"""What tasks note of their runs, so that a test can tell what really happened to a job."""

from __future__ import annotations

import os
import time
from pathlib import Path


class RunLog:
    """A file of lines ``begun ID`` and ``ended ID``; many processes may write to it at once."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "runs.log"
        self.gate = Path(folder) / "open.gate"

    def run(self, id_: object, kind: str) -> None:
        """Be a task: ``good``, ``bad`` fails, ``long`` runs until the gate opens."""
        self.note("begun", id_)
        deadline = time.monotonic() + 60
        while kind == "long" and not self.gate.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if kind == "bad":
            raise ValueError("as asked for")
        self.note("ended", id_)

    def count(self, what: str, id_: object) -> int:
        """How often a job was ``begun``, or ``ended``."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return lines.count(f"{what} {id_}")

    def note(self, what: str, id_: object) -> None:
        """Add a line."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(fd, f"{what} {id_}\n".encode())
        os.close(fd)
