"""CPU and memory of workers that run on this machine, from ``/proc``.

A worker tells its host and process id. Both may mean something else here: another machine of the
same name, another container (with process ids of its own), a process that took the number of one
that ended. So a process counts only if the host is ours, the command line names the job system, and
it began no later than the worker did.

A worker that forks counts as a whole: its process and all below it. The CPU time of a child that
ended moves to its parent when that has waited for it, so sums over a tree only grow. Memory shared
after a fork is in the resident set of each process, and so counted for each.

To find all below a process takes longer than to read them. So while no process or thread has begun
anywhere, of which the kernel tells, those found before are read again. And what a poll of each
second would ask is asked at every other one.
"""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from bgtop.model import WorkerState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bgtop.model import WorkerReading

MOST_PROCESSES = 500
"""Looked at per poll, threads included, some 50 µs each; workers beyond stay without numbers."""

SECONDS_APART = 1.9
"""From one look at processes to the next; what was told holds in between."""

LEAST_SECONDS = 0.5
"""Between two readings of CPU time: the kernel counts in hundredths of a second."""

SLACK = 2.0
"""Seconds a worker may seem to have begun before its process: clocks are read differently."""

_LONGEST = 1024 * 1024
_AT_ONCE = 16 * 1024
_NO_END = 2048
"""Bytes after which more may follow: the kernel gives pages as full as whole records make them."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """One process: ``began`` in seconds since boot, ``cpu`` in seconds, with ended children."""

    pid: int
    parent: int
    began: float
    cpu: float
    rss_bytes: int
    threads: int


class _Look(NamedTuple):
    """CPU time of a tree at a moment of a monotonic clock; ``percent`` is what it led to."""

    began: float
    tick: float
    cpu: float
    percent: float | None = None


class _Told(NamedTuple):
    """A worker as its system told of it, and with what was found here."""

    heard: WorkerReading
    measured: WorkerReading


class LocalProcesses:
    """Keeps the last look at each worker; ``system`` is a word of its command line."""

    def __init__(self, system: str, proc: str = "/proc") -> None:
        self._word = system.encode()
        self._proc = proc
        self._host = os.uname().nodename.lower()
        self._booted_at = _booted_at(proc)
        self._looks: dict[int, _Look] = {}
        self._trees: dict[int, list[Process]] = {}
        self._told: dict[int, _Told] = {}
        self._pids: set[int | None] = set()
        self._looked_at = -SECONDS_APART
        self._births = _Births(proc)
        self._left = 0

    def measured(self, workers: Iterable[WorkerReading], tick: float) -> tuple[WorkerReading, ...]:
        """The workers, with CPU (100 is one core) and memory where these can be told.

        ``tick`` is a monotonic clock. CPU takes two looks. Nothing is told outside of Linux.
        """
        workers = tuple(workers)
        before, self._pids = self._pids, {worker.pid for worker in workers}
        is_settled = all(told.measured.cpu_percent is not None for told in self._told.values())
        if is_settled and self._pids == before and tick - self._looked_at < SECONDS_APART:
            return tuple(map(self._as_told, workers))
        self._looked_at = tick
        self._left = MOST_PROCESSES
        known, self._looks = self._looks, {}
        trees, self._trees = self._trees, {}
        self._told = {}
        if self._births.any_new():
            trees = {}
        return tuple([self._measured(worker, tick, known, trees) for worker in workers])

    def _as_told(self, worker: WorkerReading) -> WorkerReading:
        pid = worker.pid or 0
        told = self._told.get(pid)
        if told is None or told.heard.name != worker.name or worker.state is WorkerState.DEAD:
            return worker
        if told.heard is not worker:
            last = told.measured
            return self._tell(pid, worker, last.cpu_percent, last.rss_bytes)
        return told.measured

    def _tell(
        self, pid: int, worker: WorkerReading, cpu_percent: float | None, rss_bytes: int | None
    ) -> WorkerReading:
        measured = replace(worker, cpu_percent=cpu_percent, rss_bytes=rss_bytes)
        self._told[pid] = _Told(worker, measured)
        return measured

    def _measured(
        self,
        worker: WorkerReading,
        tick: float,
        known: dict[int, _Look],
        trees: dict[int, list[Process]],
    ) -> WorkerReading:
        pid = worker.pid or 0
        before = known.get(pid)
        tree = self._tree_of(worker, before, trees.get(pid, []))
        if not tree:
            return worker
        root, cpu = tree[0], sum([process.cpu for process in tree])
        look = _next_look(before, _Look(root.began, tick, cpu))
        self._looks[pid], self._trees[pid] = look, tree
        return self._tell(pid, worker, look.percent, sum([process.rss_bytes for process in tree]))

    def process_of(self, worker: WorkerReading, before: _Look | None = None) -> Process | None:
        """The process of a worker; ``None`` where it is not certainly that.

        What was found ``before`` under its number is of the job system, if it is that still.
        """
        pid, host = worker.pid, worker.host
        if self._booted_at is None or pid is None or host is None:
            return None
        if host.lower() != self._host or worker.state is WorkerState.DEAD:
            return None
        born = worker.started_at or worker.last_heartbeat_at
        root = read_process(self._proc, pid)
        if root is None or born is None:
            return None
        same = before is not None and before.began == root.began
        if not same and not self._names_system(pid):
            return None
        return None if self._booted_at + root.began > born.timestamp() + SLACK else root

    def _tree_of(
        self, worker: WorkerReading, before: _Look | None, known: Sequence[Process]
    ) -> list[Process]:
        """Its process and all below it; empty where it is not certainly that.

        ``known`` were they at the last look, if nobody can have joined them since.
        """
        root = self.process_of(worker, before) if self._left > 0 else None
        if root is None:
            return []
        tree = [root, *self._again(known[1:])]
        if list(map(_identity, tree)) == list(map(_identity, known)):
            self._left -= sum([process.threads for process in tree])
            return tree
        return self._found_below(root)

    def _again(self, known: Sequence[Process]) -> list[Process]:
        read = [read_process(self._proc, process.pid) for process in known]
        return [process for process in read if process is not None]

    def _found_below(self, root: Process) -> list[Process]:
        tree = [root]
        for process in tree:
            if self._left <= 0:
                return []
            children = [read_process(self._proc, child) for child in self._children(process)]
            tree += [child for child in children if child is not None]
        return tree

    def _names_system(self, pid: int) -> bool:
        return self._word in (_read(f"{self._proc}/{pid}/cmdline") or b"").lower()

    def _children(self, process: Process) -> Iterator[int]:
        """Each thread has children of its own; one that is alone has the number of its process."""
        folder = f"{self._proc}/{process.pid}/task"
        try:
            threads = os.listdir(folder) if process.threads > 1 else [f"{process.pid}"]
        except OSError:
            return
        for thread in threads[: self._left]:
            self._left -= 1
            yield from map(int, (_read(f"{folder}/{thread}/children") or b"").split())


class _Births:
    """Tells whether processes or threads have begun, by the number of the last one."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._last: bytes | None = None
        self._moves: bool | None = None
        """Whether that number is told; some containers say the same for ever."""

    def any_new(self) -> bool:
        """Whether there may be new ones since this was asked last."""
        if self._moves is False:
            return True
        before, self._last = self._last, self._number()
        if self._moves is None:
            begin_a_thread()
            self._moves = self._last != self._number()
        return before is None or before != self._last

    def _number(self) -> bytes | None:
        """The last word of ``loadavg`` (proc(5))."""
        words = (_read(f"{self._proc}/loadavg") or b"").split()
        return words[-1] if words else None


def begin_a_thread() -> None:
    """One that ends at once."""
    thread = Thread(target=int)
    thread.start()
    thread.join()


def _next_look(before: _Look | None, now: _Look) -> _Look:
    """The look to compare with next time, and the percentage that is known now."""
    if before is None or before.began != now.began or now.cpu < before.cpu:
        return now
    elapsed = now.tick - before.tick
    if elapsed < LEAST_SECONDS:
        return before
    return now._replace(percent=100 * (now.cpu - before.cpu) / elapsed)


def read_process(proc: str, pid: int) -> Process | None:
    """One process, or ``None`` when there is none or its record is not as documented (proc(5))."""
    record = _read(f"{proc}/{pid}/stat") or b""
    # The name is in parentheses, and may hold blanks and parentheses itself.
    fields = record[record.rfind(b")") + 1 :].split()
    try:
        ticks = sum(map(int, fields[11:15]))
        parent, threads = int(fields[1]), int(fields[17])
        began, pages = int(fields[19]), int(fields[21])
    except (IndexError, ValueError):
        return None
    return Process(pid, parent, began / _TICKS, ticks / _TICKS, pages * _PAGE, threads)


def _identity(process: Process) -> tuple[int, int, float]:
    return process.pid, process.parent, process.began


def _booted_at(proc: str) -> float | None:
    """Seconds since the epoch; ``None`` where there is no such file."""
    for line in (_read(f"{proc}/stat") or b"").splitlines():
        word, _, value = line.partition(b" ")
        if word == b"btime":
            return float(value)
    return None


def _read(path: str) -> bytes | None:
    """All of it: without a file object, which takes three times as long for each of the many."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts, left = [os.read(file, _AT_ONCE)], _LONGEST
        while len(parts[-1]) > _NO_END and left > 0:
            left -= len(parts[-1])
            parts.append(os.read(file, min(left, _AT_ONCE)))
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(file)
