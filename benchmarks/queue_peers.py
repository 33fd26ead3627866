"""The other systems, each with the settings that serve it best; README.md says which those are."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from functools import partial

from queue_subjects import CHILDREN, PEERS, Subject

_POLLS = (0.02, 0.32)  # seconds between two samples of a system that polls quicker and slower
_LOST = "a crash of Redis loses jobs"
_IMPORT_WITHIN = 60.0


def peers(folder: str) -> list[Subject]:
    """The peers a virtual environment is meant to have."""
    python = os.path.abspath(os.path.join(folder, "bin", "python"))
    systems: tuple[Callable[[str], list[Subject]], ...] = (
        _huey,
        _pybgworker,
        _snappea,
        _honker,
        _celery,
        _rq,
        _dramatiq,
        _taskiq,
    )
    return [subject for system in systems for subject in system(python)]


def missing(subject: Subject) -> str | None:
    """Why a subject cannot be measured here, in one line; ``None`` if it can."""
    try:
        done = subprocess.run(
            [subject.python, "-c", f"import {subject.needs}"],
            cwd=PEERS,
            capture_output=True,
            text=True,
            timeout=_IMPORT_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if not done.returncode:
        return None
    said = (done.stderr.strip().splitlines() or [f"{subject.needs} cannot be imported"])[-1]
    return f"{said} ({subject.hint})" if subject.hint else said


def _huey(python: str) -> list[Subject]:
    consumer = (python, "-m", "huey.bin.huey_consumer", "huey_app.huey", "-k", "process")
    huey = partial(
        Subject,
        app="huey_app",
        python=python,
        worker=(*consumer, "-w", str(CHILDREN)),
        samples=0.2,
        pause=_POLLS,
        needs="huey",
    )
    promise = "at most once, results, {}, two processes"
    return [
        huey(
            name="huey fsync",
            promise=promise.format("flush per commit"),
            settings={"BENCH_DURABILITY": "full"},
            jobs=0.2,
        ),
        huey(
            name="huey",
            promise=promise.format("no flush"),
            settings={"BENCH_DURABILITY": "process"},
            jobs=0.5,
        ),
    ]


def _pybgworker(python: str) -> list[Subject]:
    run = (python, "-m", "pybgworker.cli", "run", "--app", "pybgworker_app", "--concurrency")
    pybgworker = partial(
        Subject,
        app="pybgworker_app",
        python=python,
        promise="at least once, results, flush per commit, fork per task",
        address="PYBGWORKER_DB",
        samples=0.04,
        pause=(0.3, 1.7),
        needs="pybgworker",
    )
    unlimited: Mapping[str, str] = {"BENCH_RATE_LIMIT": "0"}
    return [
        pybgworker(name="pybgworker", worker=(*run, str(CHILDREN)), jobs=0.001),
        pybgworker(
            name="pybgworker rate_limit=0", worker=(*run, "16"), settings=unlimited, jobs=0.03
        ),
    ]


def _snappea(python: str) -> list[Subject]:
    return [
        Subject(
            name="snappea",
            app="snappea_app",
            python=python,
            worker=(python, "-m", "django", "runsnappea"),
            promise="at most once, no results, flush per commit, a thread per task, four at a time",
            settings={"DJANGO_SETTINGS_MODULE": "snappea_settings"},
            prepares=True,
            jobs=0.1,
            samples=0.5,
            needs="snappea",
        )
    ]


def _honker(python: str) -> list[Subject]:
    libc, version = platform.libc_ver()
    return [
        Subject(
            name="honker",
            app="honker_app",
            python=python,
            worker=(
                *(python, "-m", "honker", "worker", "honker_app:db"),
                *("--concurrency", str(CHILDREN)),
            ),
            promise="at least once after a lease of 300 s, results, no flush, threads",
            jobs=0.1,
            samples=0.5,
            needs="honker",
            hint=f"its wheels need Python 3.11 and glibc 2.38; here is {libc or 'libc'} {version}",
        )
    ]


def _celery(python: str) -> list[Subject]:
    worker = (python, "-m", "celery", "-A", "celery_noop_app", "worker", "-P", "prefork")
    return [
        Subject(
            name="celery",
            app="celery_noop_app",
            python=python,
            worker=(*worker, "-c", str(CHILDREN)),
            promise=f"at most once as installed, results, two isolated processes; {_LOST}",
            address="BENCH_REDIS",
            redis=True,
            jobs=0.1,
            samples=0.5,
            needs="celery",
        )
    ]


def _rq(python: str) -> list[Subject]:
    pool = (python, "-m", "rq.cli", "worker-pool", "default", "-n", str(CHILDREN))
    rq = partial(
        Subject, app="rq_app", python=python, address="RQ_REDIS_URL", redis=True, needs="rq"
    )
    promise = "a job whose worker dies fails or is queued again later, results, {}; " + _LOST
    return [
        rq(
            name="rq",
            worker=pool,
            promise=promise.format("a fork per job, two workers"),
            jobs=0.02,
            samples=0.3,
        ),
        rq(
            name="rq simple",
            worker=(*pool, "-w", "rq.SimpleWorker"),
            promise=promise.format("two processes, not isolated"),
            jobs=0.05,
            samples=0.3,
        ),
    ]


def _dramatiq(python: str) -> list[Subject]:
    return [
        Subject(
            name="dramatiq",
            app="dramatiq_app",
            python=python,
            worker=(python, "-m", "dramatiq", "dramatiq_app", "-p", str(CHILDREN), "-t", "8"),
            promise=(
                f"at least once after 60 s, no results, two processes of eight threads; {_LOST}"
            ),
            address="BENCH_REDIS",
            redis=True,
            jobs=0.2,
            samples=0.2,
            pause=_POLLS,
            needs="dramatiq",
        )
    ]


def _taskiq(python: str) -> list[Subject]:
    worker = (python, "-m", "taskiq", "worker", "taskiq_app:broker", "--workers", str(CHILDREN))
    return [
        Subject(
            name="taskiq",
            app="taskiq_app",
            python=python,
            worker=worker,
            promise=f"at most once, results, event loops in two processes; {_LOST}",
            address="BENCH_REDIS",
            redis=True,
            jobs=0.2,
            samples=0.5,
            needs="taskiq_redis",
        )
    ]
