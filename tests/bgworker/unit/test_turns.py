"""Waiting for the writers' lock: in turn, with an end, and with words about who is in the way."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.holder import holder_of
from bgworker.engines.sqlite.locks import WriterMutex
from bgworker.engines.sqlite.turns import StandIn
from bgworker.errors import QueueUnavailable
from bgworker.model import JobSpec

WaitUntil = Callable[..., Any]
HOLDER = """
    import fcntl, os, sys
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


class Other:
    """Another process that holds the lock."""

    def __init__(self, process: Any) -> None:
        self.process = process
        assert process.stdout.readline() == "held\n"

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.communicate("\n", timeout=20)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "writer.lock")


@pytest.fixture
def hold(python: Callable[..., Any]) -> Callable[[str], Other]:
    return lambda path: Other(python(HOLDER, path))


@pytest.fixture
def mutex(path: str) -> Iterator[WriterMutex]:
    mutex = WriterMutex(path)
    yield mutex
    mutex.close()


def is_free(path: str) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def test_a_turn_comes(mutex: WriterMutex, path: str, hold: Callable[[str], Other]) -> None:
    other = hold(path)
    threading.Timer(0.05, other.let_go).start()
    with mutex:
        assert not is_free(path)
    assert is_free(path)


def test_who_gives_up_says_who_was_in_the_way(
    mutex: WriterMutex, path: str, hold: Callable[[str], Other], wait_until: WaitUntil
) -> None:
    other = hold(path)
    with pytest.raises(QueueUnavailable, match=f"process {other.process.pid} has kept .*0.05 s"):
        mutex.acquire(0.05)
    other.stop()
    wait_until(lambda: (found := holder_of(path)) and found.is_stopped, why="it is stopped")
    for _ in range(3):  # who asks again asks the same thread
        with pytest.raises(QueueUnavailable, match=f"kill -CONT {other.process.pid}"):
            mutex.acquire(0.05)
    other.let_go()
    wait_until(lambda: is_free(path), why="what came too late is given back")
    mutex.acquire(5)
    assert not is_free(path)
    mutex.release()
    assert is_free(path)


def test_who_will_not_wait_for_the_stopped_waits_for_the_living(
    mutex: WriterMutex, path: str, hold: Callable[[str], Other]
) -> None:
    """Where many write, or the machine is busy, a turn may be long in coming."""
    mutex.patience_with_stopped = 0.02
    other = hold(path)
    threading.Timer(0.3, other.let_go).start()
    with mutex:
        assert not is_free(path)
    other = hold(path)
    other.stop()
    began = time.monotonic()
    with pytest.raises(QueueUnavailable, match="is stopped"):
        mutex.acquire(60)
    assert time.monotonic() - began < 30
    other.let_go()


def test_a_handler_that_raises_ends_the_wait_and_nothing_stays_locked(
    mutex: WriterMutex, path: str, hold: Callable[[str], Other], wait_until: WaitUntil
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for seconds in (0.0, 0.001, 0.05):  # before, while and after the lock is given
            other = hold(path)
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            threading.Timer(seconds, other.let_go).start()
            with pytest.raises(KeyboardInterrupt):
                _take_and_wait(mutex)
            wait_until(lambda: is_free(path), why="nothing is left locked")
    finally:
        signal.signal(signal.SIGUSR1, before)


def _take_and_wait(mutex: WriterMutex) -> None:
    try:
        with mutex:
            threading.Event().wait(20)
    except BaseException:
        mutex.release()
        raise


def test_one_at_a_time(path: str, tmp_path: Path, wait_until: WaitUntil) -> None:
    """Eight processes count together, under the lock; none of their turns is lost."""
    wait_until(lambda: threading.active_count() == 1)  # those that waited before
    count = tmp_path / "count"
    count.write_text("0")
    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            mutex = WriterMutex(path)
            for _ in range(60):
                with mutex:
                    count.write_text(str(int(count.read_text()) + 1))
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    assert count.read_text() == "480"


def test_the_thread_ends_when_nobody_waits(
    path: str, hold: Callable[[str], Other], wait_until: WaitUntil
) -> None:
    """A process that forks is better off alone; the next wait starts another thread."""

    def threads() -> int:
        return sum(path in thread.name for thread in threading.enumerate())

    stand_in = StandIn(path)
    for _ in range(2):
        other = hold(path)
        assert stand_in.wait(0.01) is False
        assert threads() == 1
        other.let_go()
        wait_until(lambda: threads() == 0, why="it has ended")
        assert is_free(path)
    assert stand_in.wait(5) is True
    stand_in.close()
    wait_until(lambda: is_free(path), why="the file is closed")


def test_a_producer_is_told_and_what_it_stored_stays_stored(
    tmp_path: Path, hold: Callable[[str], Other]
) -> None:
    engine = SqliteEngine(str(tmp_path / "jobs.db"))
    (first,) = engine.enqueue([JobSpec(task="t")])
    engine._store._mutex.patience = 0.1
    other = hold(engine.files.mutex)
    other.stop()
    with pytest.raises(QueueUnavailable, match=f"process {other.process.pid} is stopped"):
        engine.enqueue([JobSpec(task="t")])
    assert engine.fetch(first).state.value == "queued", "readers do not wait"
    other.let_go()
    engine._store._mutex.patience = 10
    assert engine.enqueue([JobSpec(task="t")]) == ["2"]
    engine.close()


def test_a_checkpoint_that_has_to_wait_is_left_for_later(
    tmp_path: Path, hold: Callable[[str], Other], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is stored by then: its caller must not hear of an error."""
    monkeypatch.setattr("bgworker.engines.sqlite.store._CHECKPOINT_TURN", 0.05)
    engine = SqliteEngine(str(tmp_path / "jobs.db"), durable=False)
    engine.enqueue([JobSpec(task="t", args=f'[["{"x" * 9000}"],{{}}]')] * 400)
    engine._store._checkpoint_at = 0
    engine._store._untidy = True
    other = hold(engine.files.mutex)
    began = time.monotonic()
    engine.tidy()
    assert time.monotonic() - began < 10
    other.let_go()
    assert engine._store._checkpoint_at > 0, "it is tried again when the log has grown"
    engine.close()
