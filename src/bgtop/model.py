"""The words of bgtop: what was seen at a source, and what we know from it.

Everything here is frozen. ``None`` always means "this system cannot tell"; zero means zero.
Times are aware UTC datetimes, durations are seconds as floats.
"""

# ruff: noqa: PLC0414 - the words for jobs are in a file of their own, and taken from here

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, cast

from bgtop.actions import Verb
from bgtop.jobs import ALL_STATES as ALL_STATES
from bgtop.jobs import JobList as JobList
from bgtop.jobs import JobQuery as JobQuery
from bgtop.jobs import JobReading as JobReading
from bgtop.jobs import JobState as JobState
from bgtop.symptoms import Alert as Alert
from bgtop.symptoms import Finding as Finding
from bgtop.symptoms import Severity as Severity
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from bgtop.task_events import EventsReading, ToldEvent  # most screens have none


class WorkerState(str, Enum):
    """How alive a worker is; ``UNKNOWN`` when it is announced but has not been heard yet."""

    ACTIVE = "active"
    IDLE = "idle"
    DEAD = "dead"
    UNKNOWN = "unknown"


class AgeKind(str, Enum):
    """Whether an age was read from the message itself or is only a lower bound."""

    EXACT = "exact"
    AT_LEAST = "at_least"


class Capability(str, Enum):
    """A fact a backend can tell. Declared means never ``None`` on a healthy source."""

    DEPTH = "depth"
    PRIORITIES = "priorities"
    UNACKED = "unacked"
    SCHEDULED = "scheduled"
    DEFERRED = "deferred"
    RUNNING = "running"
    FAILED = "failed"
    DEAD = "dead"
    OLDEST_AGE = "oldest_age"
    COUNTERS = "counters"
    """Cumulative ``entered_total`` and ``left_total`` of each queue, from which rates follow."""
    RUNTIME = "runtime"
    LAST_COMPLETED = "last_completed"
    CONSUMERS = "consumers"
    WORKERS = "workers"
    WORKER_LIST = "worker_list"
    """The system keeps a list of its workers: who is not in a complete reading is not there."""
    HEARTBEATS = "heartbeats"
    CURRENT_TASKS = "current_tasks"
    JOBS = "jobs"
    """Single jobs can be listed and looked at: :attr:`Reading.jobs` answers when asked."""
    TASK_TYPES = "task_types"
    """Figures by the name of the task: :attr:`Reading.task_types` answers when asked."""
    SCHEDULES = "schedules"
    """What runs by the clock: :attr:`Reading.schedules` answers when asked."""
    EVENTS = "events"
    """What happens to jobs is counted by task: :attr:`Reading.events` answers when asked."""


@dataclass(frozen=True, slots=True)
class Age:
    """How long the oldest waiting job has waited, in seconds, and how sure that is."""

    seconds: float
    kind: AgeKind = AgeKind.EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """What one look saw of one queue.

    ``depth`` counts messages a worker could take now, over all priorities; ``unacked`` those
    delivered and not acknowledged; ``running`` those being executed (prefetched is not running).
    """

    name: str
    depth: int | None = None
    by_priority: Mapping[int, int] | None = None
    unacked: int | None = None
    scheduled: int | None = None
    deferred: int | None = None
    running: int | None = None
    failed: int | None = None
    dead: int | None = None
    oldest: Age | None = None
    entered_total: int | None = None
    """Jobs that ever entered this queue; only grows, unless the system was reset."""
    left_total: int | None = None
    """Jobs that ever ended (in whatever way); only grows, unless the system was reset."""
    runtime_mean_seconds: float | None = None
    last_completed_at: datetime | None = None
    consumers: int | None = None
    paused: bool | None = None
    internal: bool = False
    malformed: bool = False
    """Something of this queue is not what the system writes, so its numbers may be incomplete."""

    def aged(self, oldest: Age | None) -> QueueReading:
        """The same with another age: all that is new of most queues that hold jobs."""
        # Thousands are made for each reading: every other way to copy a frozen value takes
        # several times as long.
        copy: Any = _UnfrozenQueue()
        copy.name = self.name
        copy.depth = self.depth
        copy.by_priority = self.by_priority
        copy.unacked = self.unacked
        copy.scheduled = self.scheduled
        copy.deferred = self.deferred
        copy.running = self.running
        copy.failed = self.failed
        copy.dead = self.dead
        copy.oldest = oldest
        copy.entered_total = self.entered_total
        copy.left_total = self.left_total
        copy.runtime_mean_seconds = self.runtime_mean_seconds
        copy.last_completed_at = self.last_completed_at
        copy.consumers = self.consumers
        copy.paused = self.paused
        copy.internal = self.internal
        copy.malformed = self.malformed
        copy.__class__ = QueueReading
        return cast("QueueReading", copy)


class _UnfrozenQueue:
    """A reading while it is copied: the same slots, and nothing that forbids to fill them."""

    __slots__ = QueueReading.__slots__


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTask:
    """A task a worker is executing right now."""

    id: str
    name: str
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReading:
    """What one look saw of one worker.

    ``state`` is given when the system itself proves it (a lock, an "offline" event); otherwise
    it stays ``None`` and is judged from ``last_heartbeat_at`` and ``--dead-after``.
    """

    name: str
    state: WorkerState | None = None
    last_heartbeat_at: datetime | None = None
    queues: tuple[str, ...] | None = None
    concurrency: int | None = None
    running: int | None = None
    processed: int | None = None
    failed: int | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    pid: int | None = None
    host: str | None = None
    started_at: datetime | None = None
    version: str | None = None
    current: tuple[CurrentTask, ...] | None = None
    load: tuple[float, ...] | None = None
    """The load averages of its machine, over 1, 5 and 15 minutes."""
    platform: str | None = None
    """The operating system it runs on."""

    def judged(self, state: WorkerState) -> WorkerReading:
        """The same, told how alive it is; a thousand of them for each reading."""
        copy: Any = _UnfrozenWorker()
        copy.name = self.name
        copy.last_heartbeat_at = self.last_heartbeat_at
        copy.queues = self.queues
        copy.concurrency = self.concurrency
        copy.running = self.running
        copy.processed = self.processed
        copy.failed = self.failed
        copy.cpu_percent = self.cpu_percent
        copy.rss_bytes = self.rss_bytes
        copy.pid = self.pid
        copy.host = self.host
        copy.started_at = self.started_at
        copy.version = self.version
        copy.current = self.current
        copy.load = self.load
        copy.platform = self.platform
        copy.state = state
        copy.__class__ = WorkerReading
        return cast("WorkerReading", copy)


class _UnfrozenWorker:
    """As :class:`_UnfrozenQueue`, of a worker."""

    __slots__ = WorkerReading.__slots__


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTypeReading:
    """All jobs of one task, by its name; ``None`` is what the system does not keep.

    ``exceptions`` are the kinds of failure with how many jobs of those kept ended with each.
    ``sampled`` is how many ended jobs the figures are made of, where not all were looked at.
    Percentiles are of single runs, or estimates, where runs are only counted by how long they took.
    """

    name: str
    waiting: int | None = None
    running: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    runtime_mean_seconds: float | None = None
    runtime_p50_seconds: float | None = None
    runtime_p95_seconds: float | None = None
    percentiles_are_estimates: bool = False
    exceptions: Mapping[str, int] | None = None
    last_ended_at: datetime | None = None
    sampled: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleReading:
    """Something that runs by the clock. ``rule`` is its cron line, or ``every 30s``."""

    name: str
    task: str | None = None
    queue: str | None = None
    rule: str | None = None
    next_at: datetime | None = None
    last_at: datetime | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at one source. Queues and workers are sorted by name.

    ``unacked`` and the like may be known only for the source as a whole; such numbers go to
    ``totals`` (key: the field's name), never to an invented queue.
    """

    taken_at: datetime
    queues: tuple[QueueReading, ...] = ()
    workers: tuple[WorkerReading, ...] = ()
    totals: Mapping[str, int] = field(default_factory=dict)
    broker_version: str | None = None
    round_trips: int = 0
    commands: int = 0
    warnings: tuple[str, ...] = ()
    complete: bool = True
    """False while the backend still waits for first facts (a heartbeat, a discovery pass)."""
    counted: bool = False
    """Whether all queues and their numbers are there though it is not complete: what is awaited
    are ages or workers."""
    jobs: JobList | None = None
    """The answer to ``Interest.jobs``; ``None`` when not asked, or when this cannot be told."""
    task_types: tuple[TaskTypeReading, ...] | None = None
    """Sorted by name; ``None`` when not asked, or when this cannot be told."""
    schedules: tuple[ScheduleReading, ...] | None = None
    """Sorted by name; ``None`` when not asked, or when this cannot be told."""
    events: EventsReading | None = None
    """What happened since it was first asked for; ``None`` when not asked, or not told."""
    own_names: Mapping[str, str] = field(default_factory=dict)
    """With a checkup, what an application calls those queues that are shown under another name."""
    findings: tuple[Finding, ...] = ()
    """What only this system can know to be wrong, when ``Interest.checkup`` asks for it."""
    told: tuple[ToldEvent, ...] | None = None
    """What events said since the last reading; ``None`` when not asked, or when nobody tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """Which system this is, for people: ``url`` has its password removed.

    ``system`` is ``None`` at a broker where systems are still looked for, or where there is none.
    """

    system: str | None
    broker: str
    url: str
    capabilities: frozenset[Capability] = frozenset()
    verbs: frozenset[Verb] = frozenset()
    """What can be done here; everything else is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a source cannot be read, in words for the operator, and since when."""

    message: str
    since: datetime
    retry_at: datetime | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The last thing we know about one source: one job system at one place.

    ``name`` is the place; systems found at the same place share it. Their ``id`` tells them apart:
    the place, the system and more if need be, with NUL between.
    A failed poll keeps ``reading``: it is then stale, and its age is ``now - reading.taken_at``.
    """

    name: str
    info: BackendInfo
    id: str | None = None
    reading: Reading | None = None
    poll_seconds: float | None = None
    failure: Failure | None = None

    @property
    def key(self) -> str:
        """What everything that remembers something of this source is keyed by."""
        return self.name if self.id is None else self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All sources at one instant."""

    taken_at: datetime
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What history adds to one queue or task; ``None`` until two readings allow it."""

    in_per_second: float | None = None
    out_per_second: float | None = None
    drain_seconds: float | None = None
    are_estimates: bool = False
    """Whether they follow from what workers processed and what the queue holds."""
    drain_is_estimate: bool = False
    """Whether ``drain_seconds`` follows from a falling depth alone, and not from two rates."""


UNKNOWN_RATES = Rates()


class Trends(Protocol):
    """How numbers went over the last minutes."""

    def of(self, source: str, row: str, series: str) -> tuple[float | None, ...]:
        """The values of one series, the newest last; none if nothing is remembered."""
        ...

    def change(self, series: str) -> float | None:
        """By how much the sum over everything grew within the last minute or so."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Everything a page, an exporter or the JSON snapshot is made of.

    The key of ``rates`` is (key of the source, queue), that of ``task_rates`` (the same, task).
    """

    snapshot: Snapshot
    searches: tuple[Source, ...] = ()
    """Brokers where systems were found and more are looked for: only their warnings are shown."""
    rates: Mapping[tuple[str, str], Rates] = field(default_factory=dict)
    source_rates: Mapping[str, Rates] = field(default_factory=dict)
    """Of all queues of a source together, where its queues count nothing."""
    task_rates: Mapping[tuple[str, str], Rates] = field(default_factory=dict)
    """Jobs received and ended a second, where events are followed."""
    max_queues: int | None = None
    """How many queues a list shows, over all sources; totals count those left out as well."""
    max_workers: int | None = None
    alerts: tuple[Alert, ...] = ()
    """Rules of the user's that are broken now."""
    trends: Trends | None = None
    earlier: tuple[Frame, ...] = ()
    """Some frames before this one, the oldest first, where somebody looks for what grows."""
    derived: dict[Hashable, Any] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )
    """What was computed from this frame already; see :mod:`bgtop.state.derived`."""
