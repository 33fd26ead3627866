"""Huey's SQLite file as it is met: busy, missing, foreign, damaged, with ids that come again."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bgtop.backends.bgworker import plugin as bgworker_plugin
from bgtop.backends.huey import plugin
from bgtop.contracts import (
    Backend,
    BackendError,
    Interest,
    NotPermitted,
    Settings,
    Unreachable,
    WrongSource,
)
from bgtop.model import AgeKind, QueueReading
from bgtop.testing import queue_in, wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "huey 100%.db"


@pytest.fixture
def backend(path: Path) -> Iterator[Backend]:
    quoted = str(path).replace("%", "%25").replace(" ", "%20")
    with closing(plugin.open(f"huey+sqlite:///{quoted}", Settings(read_timeout=0.3))) as backend:
        yield backend


def mail(backend: Backend) -> QueueReading:
    found = queue_in(backend.poll(Interest()), "mail")
    assert found is not None
    return found


def failure(backend: Backend) -> BackendError:
    with pytest.raises(BackendError) as failed:
        backend.poll(Interest())
    assert str(failed.value).isprintable()
    return failed.value


def test_waiting_and_scheduled_jobs_are_counted(
    path: Path, make_huey: Callable, backend: Backend
) -> None:
    huey = make_huey("sqlite", str(path))
    huey.tasks("mail")["add"].schedule((1, 2), delay=3600)
    before = mail(backend)
    huey.start_consumer("mail")

    def moved() -> bool:
        now = mail(backend)
        return (now.depth, now.scheduled) == (0, 1)

    assert (before.depth, before.scheduled, before.by_priority) == (1, 0, {0: 1})
    wait_until(moved, seconds=20, why="the task is scheduled")


def test_whoever_takes_the_file_for_a_queue_of_bgworkers_is_told_the_address(
    path: Path, make_huey: Callable
) -> None:
    make_huey("sqlite", str(path)).put("mail")
    url = f"sqlite:///{str(path).replace('%', '%25').replace(' ', '%20')}"
    foreign = path.with_name("other.db")
    with closing(sqlite3.connect(foreign)) as other:
        other.execute("CREATE TABLE task (id)")
        other.commit()

    with closing(bgworker_plugin.open(url, Settings())) as backend:
        words = str(failure(backend))
    with closing(bgworker_plugin.open(f"sqlite:///{foreign}", Settings())) as backend:
        others_words = str(failure(backend))

    assert words.endswith(f"; its tables are Huey's: huey+{url} shows them")
    with closing(plugin.open(f"huey+{url}", Settings())) as backend:
        assert mail(backend).depth == 1
    assert "no bgworker queue" in others_words
    assert "Huey" not in others_words


def test_a_queue_with_results_only_is_listed(
    path: Path, make_huey: Callable, backend: Backend
) -> None:
    make_huey("sqlite", str(path)).app("mail").put("key", "value")

    assert (mail(backend).depth, mail(backend).oldest) == (0, None)


def test_an_id_that_is_given_away_anew_is_another_job(
    path: Path, make_huey: Callable, backend: Backend
) -> None:
    huey = make_huey("sqlite", str(path))
    huey.put("mail")

    def age() -> float:
        oldest = mail(backend).oldest
        assert oldest is not None
        assert oldest.kind is AgeKind.AT_LEAST
        return oldest.seconds

    wait_until(lambda: age() > 0.05, why="it waits")
    assert huey.app("mail").dequeue() is not None
    huey.put("mail")
    with closing(sqlite3.connect(path)) as witness:
        assert witness.execute("SELECT id FROM task").fetchall() == [(1,)]
    assert age() == 0


def test_odd_names_and_priorities_are_shown_as_they_are(
    path: Path, make_huey: Callable, backend: Backend
) -> None:
    make_huey("sqlite", str(path)).app("mail")
    with closing(sqlite3.connect(path, isolation_level=None)) as odd:
        rows = [(b"\xff", 0.5), ("7", "high"), ("mail", 1e300), ("mail", 1), ("mail", 1.2)]
        odd.executemany("INSERT INTO task (queue, data, priority) VALUES (?, x'', ?)", rows)
    shown = {q.name: q.by_priority for q in backend.poll(Interest()).queues}

    assert shown == {"\\xff": {0: 1}, "7": {0: 1}, "mail": {1: 2, 2**63 - 1: 1}}


def test_a_writer_is_neither_waited_for_nor_held_up(
    path: Path, make_huey: Callable, backend: Backend
) -> None:
    """In WAL mode, which Huey sets, readers and writers do not meet."""
    make_huey("sqlite", str(path)).put("mail", 2)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("DELETE FROM task")
        assert mail(backend).depth == 2
        writer.execute("COMMIT")
        assert mail(backend).depth == 0
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("ROLLBACK")


def test_a_lock_of_an_old_journal_mode_is_told(
    path: Path, make_huey: Callable, backend: Backend
) -> None:
    huey = make_huey("sqlite", str(path))
    huey.put("mail", 2)
    huey.app("mail").storage.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = delete")
        writer.execute("BEGIN EXCLUSIVE")
        error = failure(backend)
        writer.execute("ROLLBACK")

    assert type(error) is Unreachable
    assert str(error).endswith("is locked by a writer for more than 0.3 s")
    assert mail(backend).depth == 2


def test_a_missing_a_foreign_and_a_broken_file_are_told_apart(path: Path, backend: Backend) -> None:
    missing = failure(backend)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (x)")
    foreign = failure(backend)
    path.write_bytes(b"no database, but long enough to be one" * 100)
    broken = failure(backend)

    assert [type(error) for error in (missing, foreign, broken)] == [
        *(Unreachable, WrongSource, WrongSource)
    ]
    assert str(missing).endswith("cannot be opened: No such file or directory")
    assert str(foreign).endswith("has no tables of Huey")
    assert str(broken).endswith("is no SQLite database")


def test_no_files_are_left_that_the_owner_could_not_write(
    path: Path, make_huey: Callable, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    huey = make_huey("sqlite", str(path))
    huey.put("mail")
    huey.app("mail").storage.close()
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4711)
    error = failure(backend)

    assert type(error) is NotPermitted
    assert "is open in no process" in str(error)
    assert os.listdir(path.parent) == [path.name]
    huey.put("mail")
    assert mail(backend).depth == 2


def test_counting_a_huge_table_ends_when_the_source_is_closed(
    path: Path, make_huey: Callable
) -> None:
    make_huey("sqlite", str(path)).app("mail")
    with closing(sqlite3.connect(path)) as filler, filler:
        filler.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
            "INSERT INTO task (queue, data, priority) SELECT 'mail', x'00', 0 FROM n"
        )
    slow = plugin.open(f"huey+sqlite:///{str(path).replace('%', '%25')}", Settings(read_timeout=0))
    with closing(slow) as backend:
        assert str(failure(backend)).endswith("cannot be counted within 0 s")
    ended: list[BaseException] = []

    def poll_for_ever() -> None:
        try:
            while True:
                patient.poll(Interest())
        except BackendError as error:
            ended.append(error)

    patient = plugin.open(f"huey+sqlite:///{str(path).replace('%', '%25')}", Settings())
    thread = threading.Thread(target=poll_for_ever)
    thread.start()
    patient.close()
    thread.join(5)

    assert [str(error) for error in ended] == ["this source is closed"]


def test_redis_is_watched_without_loading_sqlite_or_a_client() -> None:
    code = (
        "import sys; from bgtop.backends.huey import plugin; from bgtop.contracts import Settings; "
        "plugin.open('huey+redis://h/0', Settings()); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()).isdisjoint(
        {"sqlite3", "redis", "huey", "celery", "asyncio", "ssl", "logging", "bgworker.app"}
    )
