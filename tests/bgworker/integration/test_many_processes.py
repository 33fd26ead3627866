"""Many processes on one file: opening, forking, waiting for each other, losing wake-ups."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

StartWorker = Callable[..., Any]
StartPython = Callable[..., "subprocess.Popen[str]"]
Finish = Callable[..., str]
WaitUntil = Callable[..., object]


def integrity(path: Path) -> str:
    db = sqlite3.connect(path)
    try:
        found: str = db.execute("PRAGMA integrity_check").fetchone()[0]
        return found
    finally:
        db.close()


OPENER = """
    import os, sys
    import jobs
    from bgworker.report import look
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    for url in sys.stdin:
        jobs.bg.close()
        jobs.bg.url = url.strip()
        job = jobs.add.delay(1, 1).id
        assert look(jobs.bg.url).queues[0].states
        sys.stdout.write(job + "\\n"); sys.stdout.flush()
    jobs.bg.close()
"""
LOOKER = """
    import sys
    from bgworker.report import look
    from bgworker.errors import BgWorkerError
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    for url in sys.stdin:
        for _ in range(80):
            try:
                look(url.strip())
            except BgWorkerError:
                pass
        sys.stdout.write("looked\\n"); sys.stdout.flush()
"""


def test_eight_processes_open_a_new_file_at_once(
    tmp_path: Path, python: StartPython, finish: Finish
) -> None:
    """Ten times, while a monitor looks at the file that comes into being."""
    openers = [python(OPENER) for _ in range(8)]
    looker = python(LOOKER)
    for process in (*openers, looker):
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for turn in range(10):
        for process in (looker, *openers):
            process.stdin.write(f"sqlite:///{tmp_path}/new-{turn}.db\n")
            process.stdin.flush()
        ids = [process.stdout.readline().strip() for process in openers]
        assert sorted(ids, key=str) == [str(i) for i in range(1, 9)], [
            process.stderr.read() for process in openers if process.poll() is not None
        ]
        assert looker.stdout.readline() == "looked\n"
    for process in (*openers, looker):
        finish(process)
    assert {integrity(path) for path in tmp_path.glob("new-?.db")} == {"ok"}


FORKER = """
    import os, sys
    import jobs
    jobs.bg.url = sys.argv[1]
    jobs.add.delay(0, 0).status
    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            for i in range(150):
                jobs.add.delay(number, i)
            jobs.add.map([(number, i) for i in range(50)])
            jobs.bg.close()
            sys.exit(0)
        children.append(pid)
    for i in range(150):
        jobs.add.delay(9, i)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    jobs.add.delay(9, 9)
    jobs.bg.close()
"""


def test_an_app_that_was_used_before_a_fork_works_in_every_child(
    tmp_path: Path, url: str, python: StartPython, finish: Finish, jobs: Any
) -> None:
    finish(python(FORKER, url))
    assert integrity(tmp_path / "jobs.db") == "ok"
    assert int(jobs.echo.delay().id) == 1 + 4 * 200 + 150 + 1 + 1
    queued = sqlite3.connect(tmp_path / "jobs.db")
    rows = queued.execute("SELECT count(*), count(DISTINCT id) FROM bgworker_job").fetchone()
    tally = queued.execute("SELECT sum(n) FROM bgworker_tally WHERE state = 'queued'").fetchone()
    queued.close()
    assert rows == (953, 953)
    assert tally == (953,)


ORPHAN = """
    import os, sys
    import jobs
    jobs.bg.url = sys.argv[1]
    jobs.echo.delay("parent")
    heard, tell = os.pipe()
    closed, leave = os.pipe()
    if os.fork() == 0:
        jobs.echo.delay("child")
        os.write(tell, b"x")
        os.read(closed, 1)
        jobs.echo.delay("orphan")
        os._exit(0)
    os.read(heard, 1)
    jobs.bg.close()
    os.write(leave, b"x")
    assert os.wait()[1] == 0
"""


def test_a_forked_child_keeps_the_log_when_its_parent_has_closed_the_file(
    tmp_path: Path, url: str, python: StartPython, finish: Finish
) -> None:
    """Whoever closes a file last deletes its log: a child has to count, by locks of its own."""
    finish(python(ORPHAN, url))
    queued = sqlite3.connect(tmp_path / "jobs.db")
    args = [text for (text,) in queued.execute("SELECT args FROM bgworker_job ORDER BY id")]
    queued.close()
    assert [json.loads(text)[0] for text in args] == [["parent"], ["child"], ["orphan"]]


BUSY_FORKER = """
    import os, signal, sys, threading, warnings
    import jobs
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
    jobs.bg.url = sys.argv[1]
    begun, never = threading.Event(), threading.Event()
    def write():
        with jobs.bg.dispatcher._store.write():
            begun.set()
            never.wait(0.3)  # a slow write
    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(5)
    pid = os.fork()
    if pid == 0:
        signal.alarm(8)
        jobs.echo.delay("child")
        os._exit(0)
    thread.join()
    jobs.echo.delay("parent")
    jobs.bg.close()
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_fork_beside_a_thread_that_writes_leaves_no_half_write_to_the_child(
    tmp_path: Path, url: str, python: StartPython, finish: Finish
) -> None:
    finish(python(BUSY_FORKER, url))
    assert integrity(tmp_path / "jobs.db") == "ok"


TORN_FORKER = """
    import os, sys
    import jobs
    from bgworker.errors import QueueUnavailable
    jobs.bg.url = sys.argv[1]
    children = []
    def fork():
        children.append(os.fork())
        if children[-1] == 0:
            for _ in range(2):
                try:
                    jobs.echo.delay()
                except QueueUnavailable as error:
                    assert "forked in the middle" in str(error)
                    jobs.bg.close()
                else:
                    os._exit(1)
            os._exit(0)
    with jobs.bg.dispatcher._store.write():
        fork()  # as a signal's handler may
    jobs.echo.delay()
    jobs.bg.close()
    assert os.waitpid(children[0], 0)[1] == 0
"""


def test_a_fork_in_the_middle_of_a_write_of_the_same_thread_is_refused_in_the_child(
    tmp_path: Path, jobs: Any, url: str, python: StartPython, finish: Finish
) -> None:
    finish(python(TORN_FORKER, url))
    assert integrity(tmp_path / "jobs.db") == "ok"
    assert jobs.echo.delay().id == "2", "the parent's job is the only one before it"


PRODUCER = """
    import sys
    import jobs
    jobs.bg.url = sys.argv[1]
    for i in range(250):
        jobs.echo.delay(i)
    jobs.bg.close()
"""


def test_two_producers_and_a_worker_at_full_speed(
    worker: StartWorker, url: str, python: StartPython, finish: Finish, wait_until: WaitUntil
) -> None:
    running = worker()
    producers = [python(PRODUCER, url) for _ in range(2)]
    for producer in producers:
        finish(producer)
    wait_until(lambda: len(running.events("task_success")) == 500, why="all of them")
    running.stop()
    names = {line["event"] for line in running.lines()}
    assert names == {"worker_start", "task_start", "task_success", "worker_stop"}


def test_a_lost_wake_up_delays_a_job_only_a_little(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    worker()
    jobs.echo.delay().result(5)
    bells = list((tmp_path / "jobs.db.d" / "workers").glob("*.bell"))
    assert len(bells) == 1
    bells[0].unlink()
    for _ in range(2):
        began = time.monotonic()
        handle = jobs.echo.delay("heard")
        wait_until(lambda h=handle: h.status.is_final, seconds=3, why="it ran")
        assert time.monotonic() - began < 1.5


def test_waiting_for_results_leaves_no_bells_behind(
    worker: StartWorker,
    jobs: Any,
    tmp_path: Path,
    url: str,
    python: StartPython,
    wait_until: WaitUntil,
) -> None:
    """Also when the process that waits is killed."""
    script = """
        import sys
        import jobs
        jobs.bg.url = sys.argv[1]
        jobs.nap.options(queue="nobody").delay(0).result()
    """
    waiters = tmp_path / "jobs.db.d" / "waiters"
    victims = [python(script, url) for _ in range(3)]
    wait_until(lambda: waiters.exists() and len(list(waiters.iterdir())) == 3, why="they wait")
    for victim in victims:
        victim.kill()
        victim.communicate()
    worker()
    assert jobs.add.delay(1, 1).result(5) == 2
    wait_until(lambda: not list(waiters.iterdir()), seconds=3, why="dead bells are taken down")


AUDITOR = """
import os, sys, threading
OUT = os.environ["OPENED"]
inside = threading.local()
def hook(event, arguments):
    if event == "open" and not getattr(inside, "busy", False):
        name = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else ""
        if name.endswith((".db", ".db-wal", ".db-shm", ".db-journal")) or name == "THIS IS ON":
            inside.busy = True
            fd = os.open(OUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, f"{os.getpid()} {name}\\n".encode())
            os.close(fd)
            inside.busy = False
sys.addaudithook(hook)
try:
    open("THIS IS ON")
except OSError:
    pass
"""


def test_the_database_is_opened_by_sqlite_only(
    worker: StartWorker, jobs: Any, tmp_path: Path, url: str, marked: Any
) -> None:
    """To close any other descriptor of it would drop the locks of the process."""
    auditor = tmp_path / "auditor"
    auditor.mkdir()
    (auditor / "sitecustomize.py").write_text(AUDITOR)
    opened = tmp_path / "opened"
    python_path = os.pathsep.join([str(auditor), marked.environment()["PYTHONPATH"]])
    environment = {"PYTHONPATH": python_path, "OPENED": str(opened), "BGWORKER_URL": url}
    running = worker(env=environment)
    script = """
        import sys
        import jobs
        from bgworker.report import look
        job = jobs.enqueues.delay(sys.argv[1], "x").result(10)
        jobs.bg.job(job).result(10)
        look(jobs.bg.url)
        jobs.bg.close()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "note")]
    subprocess.run(arguments, env=marked.environment(**environment), check=True, timeout=20)
    running.stop()
    found = [line.split(" ", 1)[1] for line in opened.read_text().splitlines()]
    assert len(found) >= 3, "the hook is on in supervisor, zygote and producer"
    assert set(found) == {"THIS IS ON"}
