"""CPU and memory of local workers, from a made-up ``/proc``."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from bgtop.backends import local_processes
from bgtop.backends.local_processes import LocalProcesses, Process, read_process
from bgtop.model import WorkerReading, WorkerState

BOOT = 1_795_000_000
SECOND = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
HOST = os.uname().nodename


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(BOOT + seconds, timezone.utc)


WORKER = WorkerReading(name="w", pid=10, host=HOST, started_at=at(101))


class Proc:
    """A folder like ``/proc``: processes come, go and use the processor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stat").write_text(f"cpu 1 2 3\nintr {'0 ' * 40_000}\nbtime {BOOT}\n")

    def process(
        self,
        pid: int,
        *children: int,
        cpu: float = 0,
        ended: float = 0,
        pages: int = 1,
        began: float = 100,
        name: str = "python",
        command: bytes = b"python\0-m\0celery\0worker\0",
        parent: int = 1,
    ) -> None:
        folder = self.folder / str(pid)
        (folder / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        (folder / "task" / str(pid) / "children").write_text("".join(f"{c} " for c in children))
        (folder / "cmdline").write_bytes(command)
        times = f"{int(cpu * SECOND)} 0 {int(ended * SECOND)} 0"
        others = f"20 0 1 0 {int(began * SECOND)} 99 {pages}\n"
        record = f"{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 {times} {others}"
        (folder / "stat").write_text(record)

    def last(self, number: int) -> None:
        """The number that was given to a process or thread last."""
        (self.folder / "loadavg").write_text(f"0.10 0.20 0.30 1/99 {number}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


@pytest.fixture
def local(proc: Proc) -> LocalProcesses:
    return LocalProcesses("celery", str(proc.folder))


def look(local: LocalProcesses, tick: float, worker: WorkerReading = WORKER) -> tuple:
    (seen,) = local.measured([worker], tick)
    assert replace(seen, cpu_percent=None, rss_bytes=None) == worker
    return seen.cpu_percent, seen.rss_bytes


def test_memory_is_known_at_once_and_cpu_by_two_looks(proc, local) -> None:
    proc.process(10, cpu=5, pages=3)
    assert look(local, 0) == (None, 3 * PAGE)
    proc.process(10, cpu=6, pages=4)
    assert look(local, 2) == (50.0, 4 * PAGE)
    # Too soon: the kernel counts in hundredths, so the last answer holds.
    proc.process(10, cpu=6.01, pages=4)
    assert look(local, 2.1) == (50.0, 4 * PAGE)
    assert look(local, 4) == (pytest.approx(0.5), 4 * PAGE)


def test_what_was_told_holds_for_two_seconds_of_whom_it_was_told(proc, local) -> None:
    proc.process(10, cpu=5, pages=3)
    look(local, 0)
    assert look(local, 1) == (0.0, 3 * PAGE)
    proc.process(10, cpu=7, pages=4)
    assert look(local, 2) == (0.0, 3 * PAGE)
    assert look(local, 2, replace(WORKER, state=WorkerState.DEAD)) == (None, None)
    assert look(local, 2, replace(WORKER, name="another")) == (None, None)
    assert look(local, 3) == (100.0, 4 * PAGE)


def test_a_worker_that_has_begun_is_looked_at_at_once(proc, local) -> None:
    proc.process(10)
    look(local, 0)
    look(local, 1)
    proc.process(11, pages=2)
    seen = local.measured([WORKER, replace(WORKER, name="v", pid=11)], 1.1)

    assert [worker.rss_bytes for worker in seen] == [PAGE, 2 * PAGE]


def test_a_worker_is_its_process_and_all_below(proc, local) -> None:
    proc.process(10, 11, 12, cpu=1, pages=1)
    proc.process(11, 13, cpu=1, pages=2)
    proc.process(12, cpu=1, pages=4)
    proc.process(13, cpu=1, pages=8)
    assert look(local, 0) == (None, 15 * PAGE)
    # A child used two seconds more and ended; its time is its parent's now.
    proc.process(10, 11, cpu=1, ended=3, pages=1)
    assert look(local, 2) == (100.0, 11 * PAGE)


def test_a_child_that_vanishes_between_two_reads_is_left_out(proc, local) -> None:
    proc.process(10, 99, pages=2)

    assert look(local, 0) == (None, 2 * PAGE)


@pytest.fixture
def told(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last number given is told, as a thread of ours shows."""
    proc.last(20)
    monkeypatch.setattr(local_processes, "begin_a_thread", lambda: proc.last(21))


@pytest.mark.usefixtures("told")
def test_children_are_looked_for_when_a_process_has_begun(proc, local) -> None:
    proc.process(10, 11)
    proc.process(11, pages=2)
    assert look(local, 0) == (None, 3 * PAGE)
    assert look(local, 2) == (0.0, 3 * PAGE)
    proc.process(10, 11, 12)
    proc.process(12, pages=4)
    assert look(local, 4) == (0.0, 3 * PAGE)
    proc.last(22)
    assert look(local, 6) == (0.0, 7 * PAGE)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("other", [{"parent": 7}, {"began": 105}])
def test_a_child_that_is_not_the_same_any_more_is_left_out_at_once(proc, local, other) -> None:
    proc.process(10, 11)
    proc.process(11, 12, pages=2)
    proc.process(12, pages=4)
    look(local, 0)
    assert look(local, 2) == (0.0, 7 * PAGE)
    proc.process(10)
    proc.process(11, 12, pages=2, **other)

    assert look(local, 4) == (0.0, PAGE)


def test_where_the_last_number_is_made_up_children_are_always_looked_for(proc, local) -> None:
    proc.last(0)
    proc.process(10)
    look(local, 0)
    look(local, 2)
    proc.process(10, 11)
    proc.process(11, pages=2)

    assert look(local, 4) == (0.0, 3 * PAGE)


@pytest.mark.parametrize(
    "other",
    [
        {"host": "elsewhere"},
        {"host": None},
        {"pid": None},
        {"pid": 77},
        {"state": WorkerState.DEAD},
        # The number was given to another process after the worker began.
        {"started_at": at(50)},
        {"started_at": None},
        {"started_at": None, "last_heartbeat_at": at(50)},
    ],
)
def test_a_process_that_may_be_another_says_nothing(proc, local, other) -> None:
    proc.process(10)

    assert look(local, 0, replace(WORKER, **other)) == (None, None)


def test_a_process_of_another_program_says_nothing(proc, local) -> None:
    proc.process(10, command=b"nginx\0")
    assert look(local, 0) == (None, None)
    proc.process(10, command=b"[CeleryD: w1@h:MainProcess]")
    assert look(local, 2) == (None, PAGE)


def test_a_process_that_took_the_number_has_no_share_in_what_was_before(proc, local) -> None:
    proc.process(10, cpu=50)
    look(local, 0)
    proc.process(10, cpu=60, began=100.5)

    assert look(local, 2)[0] is None


def test_time_that_went_back_gives_no_percentage(proc, local) -> None:
    """An orphan of the worker was taken by another process."""
    proc.process(10, 11, cpu=1)
    proc.process(11, cpu=5)
    look(local, 0)
    proc.process(10, cpu=1)

    assert look(local, 2)[0] is None
    assert look(local, 4)[0] == 0.0


def test_names_with_parentheses_are_read(proc) -> None:
    proc.process(10, cpu=2, ended=1, pages=5, began=7, name="a) b (c\n) 1 2")

    assert read_process(str(proc.folder), 10) == Process(10, 1, 7, 3, 5 * PAGE, 1)


@pytest.mark.parametrize("record", ["", "10", "10 (x) S 1", "10 (x) " + "y " * 30])
def test_a_record_of_another_form_says_nothing(proc, local, record) -> None:
    proc.process(10)
    (proc.folder / "10" / "stat").write_text(record)

    assert look(local, 0) == (None, None)


def test_what_is_looked_at_is_bounded(proc, local, monkeypatch) -> None:
    monkeypatch.setattr(local_processes, "MOST_PROCESSES", 20)
    proc.process(10, *range(100, 200))
    for pid in range(100, 200):
        proc.process(pid)
    proc.process(11)
    seen = local.measured([WORKER, replace(WORKER, pid=11)], 0)

    assert [worker.rss_bytes for worker in seen] == [None, None]
    assert local.measured([replace(WORKER, pid=11)], 1)[0].rss_bytes == PAGE


def test_where_there_is_no_proc_nothing_is_told(tmp_path) -> None:
    assert look(LocalProcesses("celery", str(tmp_path / "none")), 0) == (None, None)
