"""What the command line shows of a queue: as text for people, as JSON for programs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bgworker import clock
from bgworker.codec import load_error
from bgworker.engines import sqlite_path
from bgworker.errors import BadUrl
from bgworker.inspector import Inspector, QueueStats, Stats, WorkerStats
from bgworker.log import printable
from bgworker.model import JobRecord, Millis, Progress
from bgworker.states import JobState

_ENDINGS = (JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED)
_SHOWN = (
    JobState.QUEUED,
    JobState.RUNNING,
    JobState.SCHEDULED,
    JobState.RETRYING,
    JobState.BLOCKED,
    *_ENDINGS,
)
_ERROR_SHOWN = 80
"""Characters of an error that a list has room for; ``inspect`` shows it whole."""


def inspector(url: str) -> Inspector:
    """A read-only look at the queue of ``url``; raises :class:`BadUrl` for another engine's."""
    if not url.startswith("sqlite:"):
        raise BadUrl(f"{url!r} is no file to look into: use sqlite:///jobs.db")
    return Inspector(sqlite_path(url))


def path_of(url: str) -> str:
    """The file of ``url``, by its full path."""
    return os.path.realpath(sqlite_path(url))


def look(url: str) -> Stats:
    """One look at all queues and workers."""
    found = inspector(url)
    try:
        return found.stats(time.time_ns() // 1_000_000)
    finally:
        found.close()


def stats_json(stats: Stats) -> str:
    """One document; its keys are listed in ``docs/reference/json.md``."""
    queues = {queue.name: {**_counts([queue]), "paused": queue.paused} for queue in stats.queues}
    document = {
        "states": _counts(stats.queues),
        "queues": queues,
        "workers": [_worker(worker) for worker in stats.workers],
        "rescued": stats.rescued,
        "stale_writes": stats.stale_writes,
    }
    return json.dumps(document)


def stats_text(stats: Stats) -> str:
    """A table of queues and one of workers."""
    heads = ["QUEUE", *(state.value.upper() for state in _SHOWN)]
    rows = [
        [q.name + " (paused)" * q.paused, *(str(q.states[state]) for state in _SHOWN)]
        for q in stats.queues
    ]
    workers = [
        [w.name, w.state, str(len(w.current)), str(w.concurrency), str(w.processed), str(w.failed)]
        for w in stats.workers
    ]
    parts = [table(heads, rows)]
    parts.append(table(["WORKER", "STATE", "RUNNING", "OF", "PROCESSED", "FAILED"], workers))
    if stats.rescued or stats.stale_writes:
        parts.append(f"rescued {stats.rescued}, stale writes refused {stats.stale_writes}")
    return "\n\n".join(parts)


def job_json(record: JobRecord) -> str:
    """Everything about one job."""
    return json.dumps(_job(record))


def job_text(record: JobRecord) -> str:
    """Everything about one job, a line each; the traceback last."""
    job = _job(record)
    error = job.pop("error") or {}
    lines = [
        f"{name:<12} {printable(value if isinstance(value, str) else json.dumps(value))}"
        for name, value in job.items()
        if value is not None
    ]
    if error:
        lines.append(f"{'error':<12} {printable(error['type'])}: {printable(error['message'])}")
        lines += [printable(line) for line in error.get("traceback", "").splitlines()]
    return "\n".join(lines)


def jobs_json(records: Sequence[JobRecord]) -> str:
    """Everything about each of them, in one document."""
    return json.dumps({"jobs": [_job(record) for record in records]})


def jobs_text(records: Sequence[JobRecord]) -> str:
    """A table with a line for each job."""
    rows = []
    for record in records:
        kind, message, _ = load_error(record.error)
        ended = (iso(record.finished_at) or "")[:19]
        words = f"{kind}: {message}"[:_ERROR_SHOWN]
        rows.append([record.id, record.task, record.queue, ended, str(record.attempts), words])
    return table(["ID", "TASK", "QUEUE", "ENDED (UTC)", "TRIES", "ERROR"], rows, left=6)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns padded to their widest cell; the first ``left`` ones begin in line, others end so."""
    cells = [list(heads), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = []
    for row in cells:
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def iso(millis: Millis | None) -> str | None:
    """An instant as ISO 8601 in UTC."""
    return None if millis is None else clock.iso(millis)


def _counts(queues: Sequence[QueueStats]) -> dict[str, int]:
    counts = {state.value: sum(queue.states[state] for queue in queues) for state in JobState}
    for state in _ENDINGS:
        total = f"{state.value}_total"
        counts[total] = sum(getattr(queue, total) for queue in queues)
    return counts


def _worker(worker: WorkerStats) -> dict[str, Any]:
    return {
        "name": worker.name,
        "state": worker.state,
        "pid": worker.pid,
        "host": worker.host,
        "concurrency": worker.concurrency,
        "running": len(worker.current),
        "processed": worker.processed,
        "failed": worker.failed,
        "started_at": iso(worker.started_at),
        "last_heartbeat_at": iso(worker.last_heartbeat_at),
    }


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "n": progress.n,
        "total": progress.total,
        "text": progress.text,
        "at": iso(progress.at),
    }


def _job(record: JobRecord) -> dict[str, Any]:
    args, kwargs, *_ = json.loads(record.args)
    error: Mapping[str, Any] | None = json.loads(record.error) if record.error else None
    return {
        "id": record.id,
        "task": record.task,
        "queue": record.queue,
        "state": record.state.value,
        "priority": record.priority,
        "args": args,
        "kwargs": kwargs,
        "enqueued_at": iso(record.enqueued_at),
        "run_at": iso(record.run_at),
        "started_at": iso(record.started_at),
        "finished_at": iso(record.finished_at),
        "attempts": record.attempts,
        "retries": record.retries,
        "crashes": record.crashes,
        "worker": record.worker,
        "progress": None if record.progress is None else _progress(record.progress),
        "result": None if record.result is None else json.loads(record.result),
        "error": error,
    }
