"""Ctrl-C, or a soft timeout, in the middle of a call: at any moment, and nothing stays locked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

StartPython = Callable[..., "subprocess.Popen[str]"]

ENQUEUER = """
    import fcntl, itertools, random, signal, sqlite3, sys, time
    import jobs

    class Interrupted(Exception):
        pass

    def interrupt(*_):
        raise Interrupted

    def interrupted(call):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 1e-3))
            while True:
                call()
        except Interrupted:
            pass

    path, word, count = sys.argv[1:]
    jobs.bg.url = f"sqlite:///{path}"
    job = jobs.echo.delay()
    call = {
        "enqueue": jobs.echo.delay,
        "map": lambda: jobs.echo.map([(1,), (2,), (3,)]),
        "cancel": lambda: jobs.echo.delay().cancel(),
        "retry": job.retry,
        "pause": lambda: jobs.bg.pause("other"),
        "look": lambda: job.status,
    }[word]
    signal.signal(signal.SIGALRM, interrupt)
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    with open(f"{path}.d/writer.lock", "rb+") as mutex:
        for n in range(int(count)):
            interrupted(call)
            fcntl.flock(mutex, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
            fcntl.flock(mutex, fcntl.LOCK_UN)
    stored = jobs.echo.delay(word)
    assert stored.status.value == "queued"
    print("free")
"""


@pytest.mark.parametrize("call", ["enqueue", "map", "cancel", "retry", "pause", "look"])
def test_an_exception_at_any_moment_leaves_nothing_locked(
    call: str, tmp_path: Path, python: StartPython
) -> None:
    process = python(ENQUEUER, str(tmp_path / "jobs.db"), call, "600")
    said, _ = process.communicate(timeout=60)
    assert (said, process.returncode) == ("free\n", 0)


LOCKS = """
    import signal, threading
    from bgworker.lock import Lock

    class Interrupted(Exception):
        pass

    def interrupt(*_):
        raise Interrupted

    signal.signal(signal.SIGALRM, interrupt)
    lock, stayed = Lock(), 0
    for _ in range(2000):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0002)
            while True:
                with lock, lock:
                    pass
        except Interrupted:
            stayed += lock.is_held()
    print("stayed", stayed)
"""


def test_a_lock_is_free_again(python: StartPython) -> None:
    process = python(LOCKS)
    assert process.communicate(timeout=60)[0] == "stayed 0\n"
