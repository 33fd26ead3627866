"""Two producers and a worker on a new queue; what is acknowledged is noted, and flushed.

Arguments: a folder. The log is written back often, so that a power cut may hit that too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from bgtop.testing import wait_until
from bgworker import BgWorker

FOLDER = Path(sys.argv[1])
JOBS = 60
OFTEN = """
import sys
from bgworker.engines.sqlite import store
store.WAL_LIMIT, store._LOOK_AFTER = 64 * 1024, 40
"""
PRODUCER = f"""{OFTEN}
import os
from bgworker import BgWorker
acknowledged = os.open(f"acknowledged-{{os.getpid()}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
bg = BgWorker("sqlite:///jobs.db")
def note(*jobs):
    os.write(acknowledged, " ".join(["", *(job.id for job in jobs), ""]).encode())
    os.fsync(acknowledged)
task = bg.task(name="task")(len)
for n in range({JOBS}):
    note(task.delay(n % 5, "x" * (n * 37 % 1500)))
    if n % 10 == 0:
        note(*task.options(queue="many").map([(1, "y" * 700)] * 5))
bg.close()
"""
WORKER = f"""{OFTEN}
from bgworker.cli import main
sys.exit(main(["run", "--app", "app", "--concurrency", "2"]))
"""
APP = """
from bgworker import BgWorker, Retry
bg = BgWorker("sqlite:///jobs.db")

@bg.task(name="task", retry=Retry(max=1, delay=0.01))
def task(n, text):
    if n == 3:
        raise ValueError("as planned")
    return text
"""

(FOLDER / "app.py").write_text(APP)


def start(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=FOLDER, env={**os.environ, "BGWORKER_LOG": "json"}
    )


producers = [start(PRODUCER) for _ in range(2)]
worker = start(WORKER)
try:
    assert [producer.wait(40) for producer in producers] == [0, 0]
    bg = BgWorker(f"sqlite:///{FOLDER}/jobs.db")
    last = [str(2 * (JOBS + 5 * JOBS // 10) - n) for n in range(20)]
    wait_until(lambda: all(bg.job(j).status.is_final for j in last), seconds=30, why="all ended")
    bg.close()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
finally:
    for process in (*producers, worker):
        process.kill()
        process.wait()
