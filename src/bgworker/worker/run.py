"""Putting a worker together and taking it apart: what ``bgworker run`` does."""

from __future__ import annotations

import os
import selectors
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from bgworker.clock import SystemClock
from bgworker.contracts import Engine
from bgworker.engines import open_engine, sqlite_path
from bgworker.log import Log
from bgworker.model import QueuePolicy, WorkerProfile
from bgworker.scoreboard import Scoreboard
from bgworker.values import dataclass
from bgworker.worker.crew import Crew
from bgworker.worker.forker import Forker
from bgworker.worker.lifespan import Lifespan
from bgworker.worker.signals import Signals
from bgworker.worker.supervisor import Post, Supervisor
from bgworker.worker.upkeep import DEFAULT_INTERVAL_HOURS, DEFAULT_RETENTION_DAYS, Upkeep

if TYPE_CHECKING:
    from bgworker.worker.health import HealthPort


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What ``bgworker run`` was told; ``grace`` in seconds, ``url`` overrides the app's own.

    A child is replaced by a fresh one after ``max_jobs_per_child`` jobs, or when it holds more than
    ``max_rss`` MiB of memory after one.
    Ended jobs are kept for ``retention_days``; ``None`` is for ever.
    """

    app: str
    concurrency: int
    url: str | None = None
    queues: tuple[str, ...] | None = None
    grace: float = 8.0
    rate_limit: float | None = None
    """Starts per second, over all workers of the file that were given a rate."""
    pool: str = "process"
    """``process``: a process for each running job; ``thread``: threads of one process."""
    max_jobs_per_child: int | None = None
    max_rss: int | None = None
    retention_days: float | None = DEFAULT_RETENTION_DAYS
    cleanup_interval_hours: float = DEFAULT_INTERVAL_HOURS
    health: tuple[str, int] | None = None
    """Host and port on which to answer how the worker is."""


def run_worker(options: WorkerOptions) -> None:
    """Run a worker until a signal stops it.

    Raises:
        AppUnusable: the application cannot be imported.
        BgWorkerError: the queue, or the port for ``health``, cannot be used.
    """
    if options.health is None:
        _work(options, None)
        return
    from bgworker.worker.health import HealthPort

    with closing(HealthPort(*options.health)) as port:
        _work(options, port)


def _work(options: WorkerOptions, port: HealthPort | None) -> None:
    forker = Forker(options.app, options.url)
    try:
        manifest = forker.manifest()
        url = options.url or manifest.url
        engine = open_engine(url)
        profile = _profile(options, manifest.queues)
        path = sqlite_path(url) if port is not None else ""
        seat = engine.join(profile, manifest.tasks)
    except BaseException:
        forker.close()
        raise
    with selectors.DefaultSelector() as selector, closing(Signals()) as signals:
        if port is not None:
            port.start(path, seat.name)  # before the crew, which ends processes it did not meet
        crew = _crew(options.pool)(forker, manifest, selector, _lifespan(options))
        post = Post(engine, seat, Scoreboard(seat.board_fd))
        log = Log(profile.name)
        if port is not None:
            port.watch(selector, log, crew.spare)
        log.emit(
            "worker_start",
            pid=profile.pid,
            concurrency=profile.concurrency,
            tasks=len(manifest.tasks),
        )
        try:
            crew.start(seat.board_fd, post.board)
            upkeep = _upkeep(options, engine, log)
            supervisor = Supervisor(post, crew, upkeep, log, SystemClock(), grace=options.grace)
            supervisor.run(selector, signals)
        finally:
            crew.close()
            engine.leave(seat)
            log.emit("worker_stop")
            log.flush()
            engine.close()


def _crew(pool: str) -> type[Crew]:
    if pool == "process":
        return Crew
    from bgworker.worker.thread_crew import ThreadCrew

    return ThreadCrew


def _lifespan(options: WorkerOptions) -> Lifespan | None:
    if options.max_jobs_per_child is None and options.max_rss is None:
        return None
    return Lifespan(options.max_jobs_per_child, options.max_rss)


def _upkeep(options: WorkerOptions, engine: Engine, log: Log) -> Upkeep:
    return Upkeep(
        engine,
        log,
        SystemClock(),
        retention_days=options.retention_days,
        interval_hours=options.cleanup_interval_hours,
    )


def _profile(options: WorkerOptions, limits: tuple[QueuePolicy, ...]) -> WorkerProfile:
    host, pid = socket.gethostname(), os.getpid()
    return WorkerProfile(
        name=f"{host}-{pid}-{os.urandom(2).hex()}",
        host=host,
        pid=pid,
        concurrency=options.concurrency,
        queues=options.queues,
        version=_version(),
        rate_limit=options.rate_limit,
        limits=limits,
    )


def _version() -> str:
    import bgworker

    return f"bgworker {bgworker.__version__}"
