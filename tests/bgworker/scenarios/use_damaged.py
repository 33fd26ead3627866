"""Use one damaged queue after the other, as producers, workers and onlookers would.

Arguments: folders, each with a ``jobs.db``. For each a line: its name, and how it went. Whatever is
not one of our errors, in one line, ends the program, as does a file that takes too long.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable
from pathlib import Path

from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import BgWorkerError
from bgworker.inspector import Inspector
from bgworker.model import Ended, JobId, JobSpec, Succeeded, WorkerProfile


def produce(path: str) -> None:
    engine = SqliteEngine(path, durable=False)
    try:
        engine.enqueue([JobSpec(task="t")])
        engine.enqueue([JobSpec(task="t", queue=f"q{n}") for n in range(3)])
        for number in range(1, 60, 7):
            engine.fetch(JobId(str(number)))
        engine.policy_of("t")
    finally:
        engine.close()


def work(path: str) -> None:
    engine = SqliteEngine(path, durable=False)
    try:
        seat = engine.join(WorkerProfile(name="w", host="h", pid=1, concurrency=1), [])
        for _ in range(5):
            claims = engine.exchange(seat, [], 20).claims
            engine.exchange(seat, [Ended(claim, Succeeded("1"), 1, 2) for claim in claims], 1)
        engine.rescue(seat)
        engine.changed()
        engine.leave(seat)
    finally:
        engine.close()
        Path(engine.files.reserve).unlink(missing_ok=True)  # hundreds of them would fill a disk


def look(path: str) -> None:
    inspector = Inspector(path)
    try:
        inspector.stats(0)
        for number in range(1, 60, 7):
            inspector.job(str(number))
    finally:
        inspector.close()


def told(use: Callable[[str], None], path: str) -> str:
    try:
        use(path)
    except BgWorkerError as error:
        line = str(error)
        assert line.isprintable(), line
        return "refused"
    return "used"


for folder in sys.argv[1:]:
    faulthandler.dump_traceback_later(10, exit=True)
    print(folder, *(told(use, f"{folder}/jobs.db") for use in (look, produce, work)), flush=True)
    faulthandler.cancel_dump_traceback_later()
