"""Each finding follows from what was seen, and from nothing else."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import specimens

from bgworker.doctor import (
    Finding,
    Severity,
    examine,
    findings_json,
    findings_text,
    has_wal_reset_bug,
    judge,
)
from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import BadUrl
from bgworker.inspector import Running
from bgworker.model import JobId, JobSpec, TaskPolicy
from bgworker.survey import Survey
from bgworker.testing.hooks import profile

GIB = 1024**3
NOW = 1_700_000_000_000
WORKER = replace(specimens.WORKER, name="w1", state="active", pid=7, last_heartbeat_at=NOW)
SOUND = Survey(
    path="/srv/jobs.db",
    now=NOW,
    sqlite=(3, 51, 3),
    database_bytes=GIB,
    log_bytes=4 * 1024**2,
    free_bytes=10 * GIB,
    network_fs=None,
    marked_full=False,
    reserve=True,
    damage=(),
    workers=(WORKER,),
    waiting={"default": NOW - 100_000_000},
    unknown={},
    orphans=(),
    stopped_writer=None,
)
DEAD = replace(WORKER, name="w2", state="dead")
HOURS = 3_600_000


def test_a_sound_queue_gives_no_finding() -> None:
    assert judge(SOUND) == ()
    assert findings_text(()) == "nothing to complain about"
    assert json.loads(findings_json(())) == {"findings": []}


@pytest.mark.parametrize(
    ("seen", "severity", "words"),
    [
        ({"sqlite": (3, 40, 1)}, "info", ["WAL-reset bug", "3.40.1"]),
        ({"network_fs": "nfs4 at /srv"}, "error", ["network", "nfs4 at /srv"]),
        ({"free_bytes": 100 * 1024**2}, "warning", ["nearly full", "100.0 MiB"]),
        ({"marked_full": True, "free_bytes": 0}, "error", ["disk is full", "0.0 MiB"]),
        ({"log_bytes": GIB}, "warning", ["log cannot be written back", "1024.0 MiB"]),
        ({"damage": ("row 3 missing",)}, "error", ["damaged", "row 3 missing", "backup"]),
        ({"damage": None}, "info", ["too large", "quick_check"]),
        ({"stopped_writer": 77}, "error", ["process 77", "writer.lock", "kill -CONT 77"]),
        ({"reserve": False}, "warning", ["no room", "/srv/jobs.db.d/reserve"]),
        ({"orphans": ("4", "5")}, "error", ["held by workers that are dead", "4, 5"]),
        ({"unknown": {"mail": 3}}, "error", ["no worker knows", "mail (3)"]),
        ({"workers": (WORKER, DEAD)}, "warning", ["workers died", "w2"]),
        ({"workers": (DEAD,), "waiting": {}}, "error", ["workers died", "start a worker"]),
        (
            {"workers": (replace(WORKER, queues=("a",)),), "waiting": {"b": NOW - HOURS}},
            "error",
            ["no worker serves the queue 'b'", "60 min", "--queues b"],
        ),
        (
            {
                "workers": (
                    replace(
                        WORKER,
                        current=(
                            Running(id=JobId("9"), task="t", queue="q", started_at=NOW - 5 * HOURS),
                        ),
                    ),
                )
            },
            "warning",
            ["job 9 (t) has run for 5 h", "pid 7", "timeout"],
        ),
    ],
)
def test_what_is_seen_is_told(seen: dict[str, Any], severity: str, words: list[str]) -> None:
    (finding,) = judge(replace(SOUND, **seen))
    text = findings_text([finding])

    assert finding.severity.value == severity
    assert [word for word in words if word not in text] == []
    assert text.startswith(severity.upper())
    assert json.loads(findings_json([finding]))["findings"][0]["severity"] == severity


def test_the_worst_comes_first() -> None:
    found = judge(replace(SOUND, sqlite=(3, 40, 1), reserve=False, orphans=("1",)))

    assert [f.severity for f in found] == [Severity.ERROR, Severity.WARNING, Severity.INFO]


def test_no_finding_moves_the_cursor() -> None:
    text = findings_text([Finding(Severity.INFO, "\x1b[31m", "a\nb", "c\r")])

    assert len(text.splitlines()) == 3
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 37, 0), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_the_versions_with_the_bug(version: tuple[int, int, int], affected: bool) -> None:
    assert has_wal_reset_bug(version) is affected


def whats(url: str) -> set[str]:
    return {finding.what for finding in examine(url)}


def test_a_queue_without_a_file(tmp_path: Path, url: str) -> None:
    (finding,) = examine(url)

    assert (finding.severity, finding.what) == (Severity.ERROR, "the queue cannot be read")
    assert os.listdir(tmp_path) == []
    with pytest.raises(BadUrl):
        examine("memory://")


def test_a_queue_whose_worker_died(
    worker: Callable[..., Any], jobs: Any, url: str, wait_until: Callable[..., object]
) -> None:
    """A real one: what it held, and what nobody knows."""
    running = worker("--concurrency", "1")
    handle = jobs.nap.delay(60)
    running.wait_for_run(handle.id)
    before = whats(url)
    jobs.bg.dispatcher.enqueue([JobSpec(task="nobody's")])
    running.signal(signal.SIGKILL)
    running.wait()
    expected = {
        "workers died",
        "jobs are held by workers that are dead",
        "jobs of tasks that no worker knows",
    }

    assert not before - {"this SQLite has the WAL-reset bug", "the disk is nearly full"}
    wait_until(lambda: whats(url) - before == expected, why="its children are gone too")


def test_a_task_that_only_dead_workers_knew(tmp_path: Path, url: str) -> None:
    """What a worker of an older version declared is of no use to a job that waits now."""
    what = "jobs of tasks that no worker knows"
    with closing(SqliteEngine(str(tmp_path / "jobs.db"))) as engine:
        limited = TaskPolicy(name="limited", queue="q", priority=5, concurrency=1)
        old = engine.join(profile("old"), [limited, *policies("kept", "removed")])
        engine.enqueue([JobSpec(task=task, queue="q") for task in ("kept", "removed", "removed")])
        engine.enqueue([JobSpec(task="limited", queue="q", lane=limited.lane(None))])
        new = engine.join(profile("new"), policies("kept"))
        assert what not in whats(url)
        engine.leave(old)
        (finding,) = [finding for finding in examine(url) if finding.what == what]
        assert finding.evidence == "limited (1), removed (2)"
        engine.leave(new)
        assert what not in whats(url), "without any worker it is not known what the next one knows"


def policies(*names: str) -> list[TaskPolicy]:
    return [TaskPolicy(name=name, queue="q", priority=5) for name in names]


HOLDER = """
    import fcntl, os, signal, sys
    fd = os.open(sys.argv[1], os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_stopped_writer_is_found(
    tmp_path: Path,
    url: str,
    python: Callable[..., Any],
    finish: Callable[..., str],
    wait_until: Callable[..., object],
) -> None:
    """Readers do not wait for it, so the doctor can tell who it is."""
    engine = SqliteEngine(str(tmp_path / "jobs.db"))
    engine.enqueue([JobSpec(task="t")])
    holder = python(HOLDER, engine.files.mutex)
    assert holder.stdout.readline() == "held\n"
    wait_until(
        lambda: "a stopped process keeps all others from writing" in whats(url), why="it is found"
    )
    holder.send_signal(signal.SIGCONT)
    finish(holder)
    assert "a stopped process keeps all others from writing" not in whats(url)
    engine.close()


def test_a_damaged_file(tmp_path: Path, url: str) -> None:
    engine = SqliteEngine(str(tmp_path / "jobs.db"))
    engine.enqueue([JobSpec(task="t", args=f'[["{"x" * 2000}"],{{}}]')] * 200)
    engine.close()
    path = tmp_path / "jobs.db"
    data = bytearray(path.read_bytes())
    data[100 * 1024 : 110 * 1024] = b"\xff" * 10 * 1024
    path.write_bytes(data)

    assert whats(url) & {"the file is damaged", "the queue cannot be read"}
