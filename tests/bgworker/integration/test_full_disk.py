"""A disk without room: nothing is acknowledged that is not stored, and what runs is recorded."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgworker.clock import SystemClock
from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.faults import in_words
from bgworker.engines.sqlite.reserve import Reserve
from bgworker.errors import DiskFull, QueueUnavailable
from bgworker.model import Ended, JobSpec, Succeeded
from bgworker.states import JobState
from bgworker.testing.hooks import join

SCENARIO = Path(__file__).parents[1] / "scenarios" / "full_disk.py"
BIG = JobSpec(task="t", args='[["' + "x" * 4000 + '"],{}]')


def test_a_disk_that_fills_up_and_is_emptied_again(tmp_path: Path, marked: Any) -> None:
    """A real one, of 1 MiB, filled by another program under a worker with two running jobs."""
    alone = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        alone.append("--map-root-user")
    done = marked.run(*alone, sys.executable, SCENARIO, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for told in found["told"]:
        assert "the disk is full" in told
        assert "\n" not in told
    assert found["lost"] == []
    assert found["acknowledged"] >= 23
    assert found["integrity"] == "ok"
    assert (found["reserve"], found["spent"], found["held_again"]) == (64 * 1024, True, True)
    assert (found["started_while_full"], found["still_waiting"]) == (0, ["queued"])
    assert found["resumed_after"] <= 5
    assert (found["alive"], found["code"], found["tracebacks"]) == (True, 0, 0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    found = SqliteEngine(str(tmp_path / "jobs.db"), clock=SystemClock(), durable=False)
    yield found
    found.close()


def limit_pages(engine: SqliteEngine, more: int | None) -> None:
    """Let the file grow by so many pages and no further; SQLite then says that the disk is full."""
    db = engine._store.connection()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {1_000_000 if more is None else pages + more}")


def test_what_does_not_fit_is_refused_as_a_whole(engine: SqliteEngine) -> None:
    (first,) = engine.enqueue([JobSpec(task="t")])
    limit_pages(engine, 8)
    for _ in range(3):
        with pytest.raises(DiskFull) as caught:
            engine.enqueue([BIG] * 50)
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, QueueUnavailable)
    limit_pages(engine, None)
    (second,) = engine.enqueue([BIG])
    assert int(second) == int(first) + 1
    assert engine.fetch(first).state is JobState.QUEUED


def test_a_claim_that_does_not_fit_claims_nothing(engine: SqliteEngine) -> None:
    jobs = engine.enqueue([JobSpec(task=f"{'t' * 900}{n}") for n in range(300)])
    seat = join(engine)
    (claim,) = engine.exchange(seat, [], 1).claims
    limit_pages(engine, 0)
    ended = [Ended(claim, Succeeded('"' + "x" * 100_000 + '"'))]
    with pytest.raises(DiskFull):
        engine.exchange(seat, ended, 0)
    limit_pages(engine, None)
    done = engine.exchange(seat, ended, 1)
    assert done.stale == ()
    assert [engine.fetch(job).state.value for job in jobs[:3]] == ["succeeded", "running", "queued"]


def test_while_the_disk_is_marked_full_only_endings_are_written(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reserve is for them: others are refused without a try until there is room for it."""
    engine.enqueue([JobSpec(task="t")] * 2)
    seat = join(engine)
    (claim,) = engine.exchange(seat, [], 1).claims
    with monkeypatch.context() as full:
        full.setattr(Reserve, "make", lambda _: False)
        engine._store.spend_reserve()
        other = SqliteEngine(engine.files.database)
        with pytest.raises(DiskFull):
            other.enqueue([JobSpec(task="t")])
        other.close()
        with pytest.raises(DiskFull):
            engine.exchange(seat, [Ended(claim, Succeeded("1"))], 1)
        done = engine.exchange(seat, [Ended(claim, Succeeded("1"))], 0)
        assert (done.claims, done.stale) == ((), ())
        assert engine.fetch(claim.id).state is JobState.SUCCEEDED
        assert not os.path.exists(engine.files.reserve)
    assert len(engine.exchange(seat, [], 1).claims) == 1
    assert os.path.exists(engine.files.reserve)


def test_a_worker_holds_room_back_and_a_producer_does_not(engine: SqliteEngine) -> None:
    engine.enqueue([JobSpec(task="t")])
    assert not os.path.exists(engine.files.reserve)
    join(engine)
    found = os.stat(engine.files.reserve)
    assert found.st_blocks * 512 >= found.st_size > 0


OUTGROWN = """
    import resource, signal, sys
    from bgworker.errors import DiskFull
    from bgworker.engines.sqlite import SqliteEngine
    from bgworker.model import JobSpec
    engine = SqliteEngine(sys.argv[1])
    big = JobSpec(task="t", args='[["' + "x" * 4000 + '"],{}]')
    print(*engine.enqueue([big]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    told = []
    while len(told) < 3:
        try:
            print(*engine.enqueue([big]), flush=True)
        except DiskFull as error:
            told.append(str(error))
    print(told[0], flush=True)
    sys.stdin.read()
    assert told == told[:1] * 3, told
    engine.close()
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk_for_one_process_alone(
    tmp_path: Path, engine: SqliteEngine, python: Any, finish: Any
) -> None:
    process = python(OUTGROWN, str(tmp_path / "jobs.db"))
    lines: list[str] = []
    while (line := process.stdout.readline()).strip().isdecimal():
        lines.append(line.strip())
    assert "ulimit -f" in line
    assert len(lines) > 100
    (ours,) = engine.enqueue([BIG])
    finish(process)
    stored = engine._store.read("SELECT id FROM bgworker_job ORDER BY id")
    assert [str(id_) for (id_,) in stored] == [*lines, ours]
    assert engine._store.read("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, QueueUnavailable)],
)
def test_a_quota_that_is_used_up_is_a_full_disk(
    number: int, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite calls both an I/O error, so the disk is asked for a few blocks."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    failure = sqlite3.OperationalError("disk I/O error")
    path = str(tmp_path / "jobs.db")
    assert type(in_words(failure, path)) is QueueUnavailable, "this disk has room"
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert type(in_words(failure, path)) is kind
    assert os.listdir(tmp_path) == []
