"""Holds the demonstration: starts workers and producer in a folder, and clears everything away.

It is a process of its own that lives as long as its standard input is open, so that nothing is left
behind however the screen ends: by ``q``, by a signal, or killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from types import FrameType

_WORKERS = (
    ("--concurrency", "3", "--queues", "emails,payments,webhooks"),
    ("--concurrency", "3", "--queues", "thumbnails,imports,reports,emails"),
)
_GRACE = "0.2"
_PATIENCE = 5.0
"""Seconds the workers have to leave before they are killed."""


def main(folder: str) -> None:
    """Run until standard input is closed, then remove ``folder``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _no_notice)  # only the end of the input ends the stage
    environment = {**os.environ, "BGWORKER_URL": url_of(folder), "BGWORKER_LOG": "json"}
    with open(os.path.join(folder, "workers.log"), "wb") as log:
        cast = [
            subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the screen is the screen's business
            )
            for command in _commands()
        ]
        sys.stdin.read()
        for actor in cast:
            actor.terminate()
        for actor in cast:
            try:
                actor.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                actor.kill()
                actor.wait()
    shutil.rmtree(folder, ignore_errors=True)


def url_of(folder: str) -> str:
    """The queue of a demonstration in ``folder``."""
    from urllib.parse import quote

    return f"sqlite:///{quote(os.path.join(folder, 'demo.db'))}?durability=process"


def _commands() -> list[tuple[str, ...]]:
    run = ("bgworker.cli", "run", "--app", "bgtop.demo.app", "--grace", _GRACE)
    return [("bgtop.demo.producer",), *((*run, *options) for options in _WORKERS)]


def _no_notice(_: int, __: FrameType | None) -> None:
    """A handler, and not ``SIG_IGN``, which the actors would inherit."""


if __name__ == "__main__":
    main(sys.argv[1])
