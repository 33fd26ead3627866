"""What may be wrong with a queue, each with its evidence and what to do. It changes nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import Enum

from bgworker.engines import sqlite_path
from bgworker.errors import BadUrl, BgWorkerError, NewerSchema
from bgworker.inspector import Inspector
from bgworker.log import printable
from bgworker.survey import SOME, Survey, take_survey
from bgworker.values import asdict, dataclass

_LOW_DISK = 256 * 1024 * 1024
_LARGE_LOG = 64 * 1024 * 1024
_LONG_RUN = 3_600_000
_LONG_WAIT = 600_000
"""Milliseconds after which a run, or a wait without any worker, is worth a word."""
_DAMAGE_IN = (3, 51, 2)
_MENDED_IN = {(3, 50): 7, (3, 44): 6}


class Severity(str, Enum):
    """How bad: ``error`` needs somebody now."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know: ``what`` it is, the ``evidence``, and what to ``do`` about it."""

    severity: Severity
    what: str
    evidence: str
    do: str


def examine(url: str) -> tuple[Finding, ...]:
    """Look at the queue of ``url``; the worst first. Takes 2 s at most for a sound file.

    Raises:
        BadUrl: another engine's URL.
    """
    if not url.startswith("sqlite:"):
        raise BadUrl(f"{url!r} is no file to look into: use sqlite:///jobs.db")
    path = os.path.realpath(sqlite_path(url))
    now = time.time_ns() // 1_000_000
    try:
        with closing(Inspector(path)) as inspector:
            survey = take_survey(inspector, path, now)
    except BgWorkerError as error:
        words = "run a worker, or check the URL; if the file is damaged, --salvage FILE"
        if isinstance(error, NewerSchema):
            words = "pip install -U bgtop, here and wherever this file is used"
        return (Finding(Severity.ERROR, "the queue cannot be read", str(error), words),)
    return judge(survey)


def judge(survey: Survey) -> tuple[Finding, ...]:
    """The findings that follow from what was seen, the worst first. Pure."""
    order = list(Severity)
    found = [*_of_the_lock(survey), *_of_the_file(survey), *_of_the_disk(survey)]
    found += [*_of_the_workers(survey), *_of_the_jobs(survey)]
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite can lose commits when a checkpoint races a reset of the log."""
    return version <= _DAMAGE_IN and version[2] < _MENDED_IN.get(version[:2], 1_000_000)


def findings_text(findings: Sequence[Finding]) -> str:
    """For people: three lines for each, or one that all is well."""
    if not findings:
        return "nothing to complain about"
    return "\n".join(
        f"{finding.severity.value.upper()}  {printable(finding.what)}\n"
        f"    {printable(finding.evidence)}\n    -> {printable(finding.do)}"
        for finding in findings
    )


def findings_json(findings: Sequence[Finding]) -> str:
    """For programs: ``{"findings": [{"severity", "what", "evidence", "do"}]}``."""
    return json.dumps({"findings": [asdict(finding) for finding in findings]})


def _of_the_file(survey: Survey) -> Iterator[Finding]:
    if survey.damage:
        yield Finding(
            Severity.ERROR,
            "the file is damaged",
            f"quick_check: {'; '.join(survey.damage)}",
            "stop all workers and producers, keep a copy of the file and its -wal, and restore a "
            "backup; what can still be read: bgworker doctor --salvage jobs.jsonl",
        )
    elif survey.damage is None:
        yield Finding(
            Severity.INFO,
            "the file is too large to be checked in 2 s",
            f"{_size(survey.database_bytes)}",
            f'when it is quiet: sqlite3 {survey.path} "PRAGMA quick_check"',
        )
    if has_wal_reset_bug(survey.sqlite):
        yield Finding(
            Severity.INFO,
            "this SQLite has the WAL-reset bug",
            f"version {'.'.join(map(str, survey.sqlite))}; fixed in 3.51.3, 3.50.7 and 3.44.6",
            "bgworker is safe, as it writes the log back under a lock of its own; other programs "
            "that write to this file are not: give them a newer SQLite",
        )
    if survey.log_bytes > _LARGE_LOG:
        yield Finding(
            Severity.WARNING,
            "the write-ahead log cannot be written back",
            f"{survey.path}-wal has {_size(survey.log_bytes)}",
            "some program keeps a read transaction open: end it",
        )


def _of_the_lock(survey: Survey) -> Iterator[Finding]:
    if survey.stopped_writer is not None:
        yield Finding(
            Severity.ERROR,
            "a stopped process keeps all others from writing",
            f"process {survey.stopped_writer} holds {survey.path}.d/writer.lock",
            f"let it go on with kill -CONT {survey.stopped_writer}, or end it",
        )


def _of_the_disk(survey: Survey) -> Iterator[Finding]:
    if survey.network_fs:
        yield Finding(
            Severity.ERROR,
            "the file is on a network file system",
            f"{survey.path} is on {survey.network_fs}",
            "move it to a local disk: SQLite loses data where several machines use a file",
        )
    if survey.marked_full:
        yield Finding(
            Severity.ERROR,
            "the disk is full: no new job is stored",
            f"{_size(survey.free_bytes)} are free",
            "make room; bgworker goes on by itself",
        )
    elif survey.free_bytes < _LOW_DISK:
        yield Finding(
            Severity.WARNING,
            "the disk is nearly full",
            f"{_size(survey.free_bytes)} are free on the disk of {survey.path}",
            "make room",
        )
    live = [worker for worker in survey.workers if worker.state != "dead"]
    if live and not survey.reserve and not survey.marked_full:
        yield Finding(
            Severity.WARNING,
            "no room is held back for endings on a full disk",
            f"there is no {survey.path}.d/reserve",
            "make room on the disk and restart a worker",
        )


def _of_the_workers(survey: Survey) -> Iterator[Finding]:
    live = [worker for worker in survey.workers if worker.state != "dead"]
    dead = [worker.name for worker in survey.workers if worker.state == "dead"]
    if dead:
        yield Finding(
            Severity.WARNING if live else Severity.ERROR,
            "workers died",
            f"{len(dead)} within the last hour: {_some(dead)}",
            "look at their logs, and at the kernel's for a lack of memory; "
            + ("the others took their jobs" if live else "start a worker: it takes their jobs"),
        )
    all_served = any(worker.queues is None for worker in live)
    served = {queue for worker in live for queue in worker.queues or ()}
    for queue, since in survey.waiting.items():
        waited = survey.now - since
        if not all_served and queue not in served and waited > _LONG_WAIT:
            yield Finding(
                Severity.ERROR,
                f"no worker serves the queue {queue!r}",
                f"its oldest job has waited for {_span(waited)}",
                f"bgworker run --app MODULE --queues {queue}",
            )


def _of_the_jobs(survey: Survey) -> Iterator[Finding]:
    if survey.unknown:
        yield Finding(
            Severity.ERROR,
            "jobs of tasks that no worker knows",
            _some([f"{task} ({n})" for task, n in survey.unknown.items()]),
            "start a worker whose app declares them, or cancel them",
        )
    orphans = survey.orphans
    if orphans:
        yield Finding(
            Severity.ERROR,
            "jobs are held by workers that are dead",
            f"jobs {_some(orphans)}",
            "start a worker: it takes them back at once",
        )
    for worker in survey.workers:
        for run in worker.current:
            lasted = survey.now - run.started_at
            if worker.state != "dead" and lasted > _LONG_RUN:
                yield Finding(
                    Severity.WARNING,
                    f"job {run.id} ({run.task}) has run for {_span(lasted)}",
                    f"on worker {worker.name}, pid {worker.pid}",
                    "if it hangs, give the task a timeout= or a hard_timeout=",
                )


def _some(names: Sequence[str]) -> str:
    more = "" if len(names) < SOME else ", …"
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else more)


def _size(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"


def _span(millis: int) -> str:
    minutes = millis // 60_000
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
