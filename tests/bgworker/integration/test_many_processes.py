"""Many processes on one file: opening, forking, waiting for each other, losing wake-ups."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., object]


def python(script: str, *arguments: str, marked: Any) -> subprocess.Popen[str]:
    """A Python program with ``jobs`` importable; its warnings are errors."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        env=marked.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 30) -> str:
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    assert err == ""
    return out


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


def test_eight_processes_open_a_new_file_at_once(tmp_path: Path, marked: Any) -> None:
    """Ten times, while a monitor looks at the file that comes into being."""
    openers = [python(OPENER, marked=marked) for _ in range(8)]
    looker = python(LOOKER, marked=marked)
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
    tmp_path: Path, url: str, marked: Any, jobs: Any
) -> None:
    finish(python(FORKER, url, marked=marked))
    assert integrity(tmp_path / "jobs.db") == "ok"
    assert int(jobs.echo.delay().id) == 1 + 4 * 200 + 150 + 1 + 1
    queued = sqlite3.connect(tmp_path / "jobs.db")
    rows = queued.execute("SELECT count(*), count(DISTINCT id) FROM bgworker_job").fetchone()
    tally = queued.execute("SELECT sum(n) FROM bgworker_tally WHERE state = 'queued'").fetchone()
    queued.close()
    assert rows == (953, 953)
    assert tally == (953,)


PRODUCER = """
    import sys
    import jobs
    jobs.bg.url = sys.argv[1]
    for i in range(250):
        jobs.echo.delay(i)
    jobs.bg.close()
"""


def test_two_producers_and_a_worker_at_full_speed(
    worker: StartWorker, jobs: Any, url: str, marked: Any, wait_until: WaitUntil
) -> None:
    running = worker()
    producers = [python(PRODUCER, url, marked=marked) for _ in range(2)]
    for producer in producers:
        finish(producer)
    wait_until(lambda: len(running.events("task_success")) == 500, why="all of them")
    running.stop()
    names = {line["event"] for line in running.lines()}
    assert names == {"worker_start", "task_start", "task_success", "worker_stop"}


FOREIGNER = """
    import sqlite3, sys, time
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    sys.stdout.write("held\\n"); sys.stdout.flush()
    sys.stdin.readline()
    db.execute("COMMIT")
    db.close()
"""


@pytest.fixture
def hold(tmp_path: Path, marked: Any) -> Callable[[], subprocess.Popen[str]]:
    """A foreign program that holds the write lock until a line is written to it."""

    def start() -> subprocess.Popen[str]:
        process = python(FOREIGNER, str(tmp_path / "jobs.db"), marked=marked)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    return start


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    finish(process)


ENQUEUER = """
    import signal, sys
    import jobs
    class Interrupted(Exception):
        pass
    def interrupt(*_):
        raise Interrupted
    signal.signal(signal.SIGUSR1, interrupt)
    jobs.bg.url = sys.argv[1]
    for line in sys.stdin:
        try:
            answer = jobs.echo.delay().id
        except Interrupted:
            answer = "interrupted"
        sys.stdout.write(answer + "\\n"); sys.stdout.flush()
    jobs.bg.close()
"""


@pytest.fixture
def enqueuer(url: str, marked: Any) -> Iterator[subprocess.Popen[str]]:
    """A producer: a line to it is a job, its answer the job's id. SIGUSR1 interrupts it."""
    process = python(ENQUEUER, url, marked=marked)
    yield process
    finish(process)


def ask(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def waits_for_the_lock(process: subprocess.Popen[str]) -> bool:
    """Whether it has the mutex of our own writers and sleeps: only SQLite's lock is missing."""
    with open("/proc/locks", encoding="ascii") as locks:
        holds = any(f" {process.pid} " in line and "FLOCK" in line for line in locks)
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        return holds and file.read().rpartition(")")[2].split()[0] == "S"


def test_enqueue_waits_for_a_foreign_writer(
    jobs: Any,
    enqueuer: subprocess.Popen[str],
    hold: Callable[[], subprocess.Popen[str]],
    wait_until: WaitUntil,
) -> None:
    ask(enqueuer)
    assert answer(enqueuer) == "1"
    holder = hold()
    began = time.monotonic()
    ask(enqueuer)
    wait_until(lambda: waits_for_the_lock(enqueuer), why="it waits")
    wait_until(lambda: time.monotonic() - began > 1.5, why="1.5 s have passed")
    release(holder)
    assert answer(enqueuer) == "2"
    assert jobs.bg.job("2").status.value == "queued"


def test_an_exception_while_waiting_for_the_lock_leaves_no_transaction_open(
    jobs: Any,
    enqueuer: subprocess.Popen[str],
    hold: Callable[[], subprocess.Popen[str]],
    wait_until: WaitUntil,
) -> None:
    """Ctrl-C, or a soft timeout, in the moment when the lock is given."""
    ask(enqueuer)
    assert answer(enqueuer) == "1"
    holder = hold()
    ask(enqueuer)
    wait_until(lambda: waits_for_the_lock(enqueuer), why="it waits")
    enqueuer.send_signal(signal.SIGUSR1)
    release(holder)
    assert answer(enqueuer) == "interrupted"
    db = sqlite3.connect(jobs.bg.url.removeprefix("sqlite:///"), timeout=1, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")  # raises if the lock is still held
    db.execute("COMMIT")
    db.close()
    ask(enqueuer)
    assert int(answer(enqueuer)) == 2


def test_a_worker_beside_a_foreign_writer_still_enforces_its_limits(
    worker: StartWorker,
    jobs: Any,
    tmp_path: Path,
    hold: Callable[[], subprocess.Popen[str]],
    enqueuer: subprocess.Popen[str],
    wait_until: WaitUntil,
) -> None:
    """Even beside a producer that waits too. What ended meanwhile is stored afterwards."""
    running = worker()
    short = jobs.nap.delay(0.3)
    endless = jobs.ignores_everything.delay(str(tmp_path / "pid"))
    running.wait_for_run(short.id)
    wait_until((tmp_path / "pid").exists, why="it runs")
    holder = hold()
    ask(enqueuer)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not running.is_running(pid), seconds=1.4, why="killed in time")
    with pytest.raises(TimeoutError):
        short.result(0.5)
    release(holder)
    assert answer(enqueuer) == "3"
    assert short.result(2) == "rested"
    wait_until(lambda: endless.status.is_final, seconds=2, why="stored too")
    assert jobs.bg.dispatcher.fetch(short.id).attempts == 1


def test_a_worker_waits_at_rest_for_a_foreign_writer(
    worker: StartWorker, jobs: Any, hold: Callable[[], subprocess.Popen[str]]
) -> None:
    """Also when a delayed job is due, and so there is something to do at once."""
    running = worker()
    due = jobs.echo.options(countdown=0.2).delay("due")
    holder = hold()
    before = running.cpu_seconds()
    with pytest.raises(TimeoutError):
        due.result(0.9)
    assert running.cpu_seconds() - before < 0.15
    release(holder)
    assert due.result(2) == "due"


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
    worker: StartWorker, jobs: Any, tmp_path: Path, url: str, marked: Any, wait_until: WaitUntil
) -> None:
    """Also when the process that waits is killed."""
    script = """
        import sys
        import jobs
        jobs.bg.url = sys.argv[1]
        jobs.nap.options(queue="nobody").delay(0).result()
    """
    waiters = tmp_path / "jobs.db.d" / "waiters"
    victims = [python(script, url, marked=marked) for _ in range(3)]
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
