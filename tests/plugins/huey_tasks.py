"""The application that Huey consumers of the tests run: ``huey_consumer huey_tasks.huey``."""

from __future__ import annotations

import os
import time
from inspect import signature
from pathlib import Path
from typing import Any

import huey as library
from huey.storage import RedisStorage
from run_log import RunLog

# Releases without this choice always leave letters out.
KEEPS_NAMES = "clean_name" in signature(RedisStorage.__init__).parameters


def open_huey(kind: str, name: str, place: str) -> Any:
    """A Huey of this kind, whose keys hold the name as it is, at a Redis URL or in a file."""
    if kind == "sqlite":
        return library.SqliteHuey(name, filename=place)
    raw = {"clean_name": False} if KEEPS_NAMES else {}
    return getattr(library, kind)(name, url=place, **raw)


def register(app: Any) -> dict[str, Any]:
    """The tasks, by name."""

    @app.task()
    def add(x: int, y: int) -> int:
        return x + y

    @app.task()
    def waits(file: str) -> None:
        """Run until the test makes this file, or for a minute."""
        for _ in range(600):
            if Path(file).exists():
                return
            time.sleep(0.1)

    @app.task()
    def fails() -> None:
        raise ValueError("boom")

    @app.task()
    def retries() -> None:
        """End at the second attempt."""
        if not tried:
            tried.append(True)
            raise library.RetryTask

    tried: list[bool] = []

    @app.task()
    def writes(file: str, word: str) -> None:
        """Leave a trace."""
        with open(file, "a") as trace:
            trace.write(f"{word}\n")

    @app.task(context=True)
    def noted(folder: str, kind: str, task: Any = None) -> None:
        """Note its runs in the folder's log."""
        RunLog(folder).run(task.id, kind)

    every = {"add": add, "waits": waits, "fails": fails, "retries": retries}
    return {**every, "writes": writes, "noted": noted}


if "TEST_HUEY_KIND" in os.environ:
    huey = open_huey(
        os.environ["TEST_HUEY_KIND"], os.environ["TEST_HUEY_NAME"], os.environ["TEST_HUEY_PLACE"]
    )
    register(huey)
    if os.environ.get("TEST_HUEY_AGENT"):
        from bgtop.agents.huey import attach

        attach(huey)
