"""What the machine can do at best, and what a tree of processes costs it. Linux only."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

_PAGE = b"\0" * 4096
_CPU_CLOCK_OF_PROCESS = 2  # the kernel's CPUCLOCK_SCHED: what clock_getcpuclockid(3) makes of a pid


def commits_per_second(folder: str, rows: int) -> float:
    """One bare row per transaction with the ``sqlite3`` module, WAL and synchronous=FULL."""
    with _bare_database(folder) as db:
        for _ in range(rows // 2):  # until the write-ahead log has its size
            _commit_a_row(db)
        began = time.perf_counter()
        for _ in range(rows):
            _commit_a_row(db)
        return rows / (time.perf_counter() - began)


def rested_commits_ms(folder: str, times: int, pause: tuple[float, float]) -> list[float]:
    """Ms of each such commit when a pause lies before it: processor and disk are cold."""
    found = []
    chance = random.Random(1)
    with _bare_database(folder) as db:
        for _ in range(times):
            time.sleep(chance.uniform(*pause))
            began = time.perf_counter()
            _commit_a_row(db)
            found.append((time.perf_counter() - began) * 1000)
    return found


@contextlib.contextmanager
def _bare_database(folder: str) -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="floor-") as private:
        db = sqlite3.connect(os.path.join(private, "floor.db"), isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, task TEXT, args TEXT, at INTEGER)")
        try:
            yield db
        finally:
            db.close()


def _commit_a_row(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO job (task, args, at) VALUES ('noop', '[[1],{}]', 1)")
    db.execute("COMMIT")


def fdatasync_ms(folder: str, times: int) -> float:
    """Median ms of one fdatasync after a page was rewritten in a file that does not grow."""
    found = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix="floor-", buffering=0) as file:
        file.write(_PAGE * 16)
        os.fsync(file.fileno())
        for number in range(times):
            os.pwrite(file.fileno(), _PAGE, number % 16 * len(_PAGE))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - began)
    return statistics.median(found) * 1000


def process_tree(root: int) -> list[int]:
    """A process and everything that descends from it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_ns(pids: Iterable[int]) -> dict[int, int]:
    """CPU time of each process with all its threads, exact to the ns (/proc counts in 10 ms)."""
    found = {}
    for pid in pids:
        try:
            found[pid] = time.clock_gettime_ns((~pid << 3) | _CPU_CLOCK_OF_PROCESS)
        except OSError:
            continue
    return found


def memory_mb(pids: Iterable[int]) -> dict[str, float]:
    """MB of the tree: ``pss`` shares pages among all who map them, ``uss`` is what is its own."""
    sums = {"pss": 0, "uss": 0}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                lines = [line.split() for line in file][1:]
        except (FileNotFoundError, ProcessLookupError):
            continue
        kb = {words[0].rstrip(":"): int(words[1]) for words in lines}
        sums["pss"] += kb["Pss"]
        sums["uss"] += kb["Private_Clean"] + kb["Private_Dirty"]
    return {name: kb / 1024 for name, kb in sums.items()}


def filesystem(folder: str) -> str:
    """Its type, such as ``ext4``; on ``tmpfs`` a flush costs nothing and means nothing."""
    path = os.path.realpath(folder) + "/"
    best, kind = "", "unknown"
    with open("/proc/mounts") as file:
        for line in file:
            _, point, type_, *_ = line.split()
            if path.startswith(point.rstrip("/") + "/") and len(point) >= len(best):
                best, kind = point, type_
    return kind


def describe(folder: str) -> dict[str, object]:
    """What figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "filesystem": filesystem(folder),
    }


def rss_mb(pid: int) -> float:
    """Memory a process has in use, shared pages included; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def conclude(load: float, measured: dict[str, object], path: str | None) -> None:
    """Print the load average of before and now; write what was measured into a file, if named."""
    loads = [load, os.getloadavg()[0]]
    print(f"\nload average before and after {loads[0]:.2f}, {loads[1]:.2f}")
    if path is not None:
        document = {
            "schema": 1,
            "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": {**describe("."), "load": loads},
            **measured,
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
