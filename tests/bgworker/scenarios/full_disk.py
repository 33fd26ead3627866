"""A disk that fills up under a worker, and is emptied again. Runs in a mount namespace of its own.

Arguments: a folder. What happened is printed as one JSON document.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from bgtop.testing import wait_until
from bgworker import BgWorker
from bgworker.errors import DiskFull
from bgworker.model import JobId

APP = """
import os, time
from bgworker import BgWorker
bg = BgWorker()

@bg.task(name="gated")
def gated(n):
    while not os.path.exists("gate"):
        time.sleep(0.01)
    return n

@bg.task(name="quick")
def quick(text):
    return len(text)
"""
FOLDER = Path(sys.argv[1])
DISK = FOLDER / "disk"
LOG = FOLDER / "worker.log"
bg = BgWorker(f"sqlite:///{DISK}/jobs.db")
gated = bg.task(name="gated")(lambda n: n)
quick = bg.task(name="quick")(len)


def events(*names: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in LOG.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] in names]


def fill() -> None:
    """Take what is left of the disk, as another program would."""
    fd = os.open(DISK / "filler", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, bytes(4096))
    os.close(fd)


def refused() -> str:
    """What a producer is told, at last: some jobs still fit into what the log has already."""
    told = ""
    for _ in range(100_000):
        try:
            acknowledged.append(quick.delay("x" * 500).id)
        except DiskFull as error:
            if told:
                return str(error)
            told = str(error)
        fill()
    raise AssertionError("the disk never was full")


def status(jobs: list[str]) -> set[str]:
    return {bg.job(job).status.value for job in jobs}


DISK.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", DISK], check=True)
(FOLDER / "app.py").write_text(APP)
with LOG.open("wb") as log:
    worker = subprocess.Popen(
        [sys.executable, "-m", "bgworker.cli", "run", "--app", "app", "--concurrency", "2"],
        cwd=FOLDER,
        env={**os.environ, "BGWORKER_URL": bg.url, "BGWORKER_LOG": "json"},
        stderr=log,
    )
try:
    wait_until(lambda: events("worker_start"), why="the worker starts")
    acknowledged = [gated.delay(n).id for n in range(2)]
    running = list(acknowledged)
    wait_until(lambda: len(events("task_start")) == 2, why="both children are busy")
    acknowledged += [quick.delay(str(n)).id for n in range(20)]
    reserve = (DISK / "jobs.db.d" / "reserve").stat().st_blocks * 512
    told = refused()
    (FOLDER / "gate").touch()
    wait_until(lambda: status(running) == {"succeeded"}, seconds=5, why="endings are recorded")
    spent = not (DISK / "jobs.db.d" / "reserve").exists()
    seen = time.monotonic()
    wait_until(lambda: time.monotonic() - seen > 1.2, why="the worker had time to claim")
    started_while_full = len(events("task_start")) - 2
    told_again = refused()
    waiting = [job for job in acknowledged if job not in running]
    still_waiting = status(waiting)
    alive = worker.poll() is None
    (DISK / "filler").unlink()
    room_at = time.time()
    wait_until(lambda: status(waiting) == {"succeeded"}, seconds=20, why="all jobs end")
    resumed = min(bg.dispatcher.fetch(JobId(job)).started_at or 0 for job in waiting)
    acknowledged.append(quick.delay("again").id)
    wait_until(lambda: status(acknowledged) == {"succeeded"}, seconds=5, why="the last one ends")
    held_again = (DISK / "jobs.db.d" / "reserve").exists()
    worker.send_signal(signal.SIGTERM)
    code = worker.wait(20)
finally:
    worker.kill()
    worker.wait()
bg.close()
db = sqlite3.connect(DISK / "jobs.db")
stored = [str(job) for (job,) in db.execute("SELECT id FROM bgworker_history")]
found = {
    "told": [told, told_again],
    "reserve": reserve,
    "spent": spent,
    "started_while_full": started_while_full,
    "still_waiting": sorted(still_waiting),
    "alive": alive,
    "resumed_after": resumed / 1000 - room_at,
    "held_again": held_again,
    "code": code,
    "lost": sorted(set(acknowledged) - set(stored)),
    "acknowledged": len(acknowledged),
    "integrity": db.execute("PRAGMA integrity_check").fetchone()[0],
    "tracebacks": LOG.read_text().count("Traceback"),
}
db.close()
print(json.dumps(found))
