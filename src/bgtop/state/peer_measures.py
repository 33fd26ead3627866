"""The measures of other exporters, so that their dashboards and alerts go on working.

Names, types, labels and buckets are those of Flower 2.2, celery-exporter (0.11.2, and what it has
since) and rq-exporter 3.1, read from their sources. They have no label for the source: sources are
added up. Where they have a worker and we count by task and queue only, it is ``generic``, which is
what celery-exporter calls it when its users ask for fewer series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from bgtop.model import WorkerState
from bgtop.state.label_bounds import MOST_WORKERS, OTHER, LabelBounds, steady
from bgtop.state.measures import Family, Fold, Kind, Labels, Spec, Value, regrouped
from bgtop.state.peer_counts import WorkerCounts, failures_by_class
from bgtop.state.telling import Telling, is_fresh
from bgtop.task_events import BUCKETS, EventKind

if TYPE_CHECKING:
    from datetime import datetime

    from bgtop.model import Frame, Source, WorkerReading
    from bgtop.task_events import TaskEventsReading

Told = Iterator[tuple[Spec, Labels, Value | None]]

_GENERIC: Final = "generic"
_DEFAULT_QUEUE: Final = "celery"
_RUNTIMES: Final = tuple(bound for bound in BUCKETS if bound <= 10)
_WAITS: Final = tuple(
    bound for bound in BUCKETS if bound >= 0.05 and bound not in {0.075, 0.75, 7.5}
)


def _gauge(name: str, words: str, *labels: str, fold: Fold = Fold.SUM) -> Spec:
    return Spec(name, Kind.GAUGE, words, labels, fold=fold)


def _counter(name: str, words: str, *labels: str) -> Spec:
    return Spec(name, Kind.COUNTER, words, labels)


def _histogram(name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Spec:
    return Spec(name, Kind.HISTOGRAM, words, labels, buckets=buckets)


_BY_TASK: Final = ("worker", "task")
FLOWER_EVENTS: Final = _counter("flower_events", "Number of events", "worker", "type", "task")
FLOWER_RUNTIME: Final = _histogram(
    "flower_task_runtime_seconds", "Task runtime", _RUNTIMES, *_BY_TASK
)
FLOWER_PREFETCH_TIME: Final = _gauge(
    "flower_task_prefetch_time_seconds",
    "How long the task waited at the worker.",
    *_BY_TASK,
    fold=Fold.MAX,
)
FLOWER_PREFETCHED: Final = _gauge(
    "flower_worker_prefetched_tasks", "Tasks of this type prefetched.", *_BY_TASK
)
FLOWER_ONLINE: Final = _gauge(
    "flower_worker_online", "Worker online status", "worker", fold=Fold.MAX
)
FLOWER_EXECUTING: Final = _gauge(
    "flower_worker_number_of_currently_executing_tasks", "Tasks executing at a worker.", "worker"
)

_OF_TASK: Final = ("name", "hostname", "queue_name")
CELERY_EVENTS: Final = {
    kind: _counter(f"celery_task_{kind.value}", f"Tasks that were {kind.value}.", *_OF_TASK)
    for kind in EventKind
    if kind not in {EventKind.LOST, EventKind.FAILED}
}
CELERY_FAILED: Final = _counter(
    *("celery_task_failed", "Tasks that failed."), *("name", "hostname", "exception", "queue_name")
)
CELERY_RUNTIME: Final = _histogram(
    "celery_task_runtime", "Runtimes of tasks, in seconds.", _RUNTIMES, *_OF_TASK
)
CELERY_WAIT: Final = _histogram(
    "celery_task_queue_wait_time", "From sent to started, in seconds.", _WAITS, *_OF_TASK
)
CELERY_UP: Final = _gauge("celery_worker_up", "If a worker lives.", "hostname", fold=Fold.MAX)
CELERY_ACTIVE: Final = _gauge("celery_worker_tasks_active", "Tasks a worker runs.", "hostname")
CELERY_LENGTH: Final = _gauge("celery_queue_length", "Messages in the queue.", "queue_name")
CELERY_CONSUMERS: Final = _gauge(
    "celery_active_consumer_count", "Consumers of the queue.", "queue_name"
)
CELERY_WORKERS: Final = _gauge("celery_active_worker_count", "Workers of the queue.", "queue_name")
CELERY_PROCESSES: Final = _gauge(
    "celery_active_process_count", "Processes of the queue.", "queue_name"
)

RQ_WORKERS: Final = _gauge("rq_workers", "RQ workers", "name", "state", "queues")
RQ_SUCCESS: Final = _counter("rq_workers_success", "Jobs that succeeded.", "name", "queues")
RQ_FAILED: Final = _counter("rq_workers_failed", "Jobs that failed.", "name", "queues")
RQ_JOBS: Final = _gauge("rq_jobs", "RQ jobs by state", "queue", "status")
RQ_POLLS: Final = Spec(
    "rq_request_processing_seconds", Kind.SUMMARY, "Time spent reading RQ's data.", ()
)

_RQ_STATES: Final = {WorkerState.ACTIVE: "busy", WorkerState.IDLE: "idle", WorkerState.UNKNOWN: "?"}
_RQ_JOBS: Final = {
    "queued": "depth",
    "started": "running",
    "failed": "failed",
    "deferred": "deferred",
    "scheduled": "scheduled",
}


SPECS: Final = {
    "flower": (
        *(FLOWER_EVENTS, FLOWER_RUNTIME, FLOWER_PREFETCH_TIME, FLOWER_PREFETCHED, FLOWER_ONLINE),
        FLOWER_EXECUTING,
    ),
    "celery-exporter": (
        *(*CELERY_EVENTS.values(), CELERY_FAILED, CELERY_RUNTIME, CELERY_WAIT, CELERY_UP),
        *(CELERY_ACTIVE, CELERY_LENGTH, CELERY_CONSUMERS, CELERY_WORKERS, CELERY_PROCESSES),
    ),
    "rq-exporter": (RQ_WORKERS, RQ_SUCCESS, RQ_FAILED, RQ_JOBS, RQ_POLLS),
}
"""What is told under the names of each exporter."""

BY_TASK: Final = frozenset({"flower", "celery-exporter"})
"""Those that tell tasks apart."""


class Peers:
    """Tells frames in the words of other exporters; shares the memory of a :class:`Telling`."""

    def __init__(self, names: Iterable[str], telling: Telling) -> None:
        self._tellers = [PEERS[name] for name in names]
        self._telling = telling
        self._rq = WorkerCounts()

    def take(self, frame: Frame) -> None:
        """This is the newest frame, which the :class:`Telling` was shown as well."""
        for source in frame.snapshot.sources:
            if source.info.system == "rq" and source.reading is not None:
                self._rq.take(source, source.reading)

    def families(self, frame: Frame, now: datetime) -> list[Family]:
        """Everything told of this frame, the newest one."""
        rows: dict[Spec, list[tuple[Labels, Value]]] = {}
        for tell in self._tellers:
            for spec, labels, value in tell(frame, self._telling, self._rq, now):
                if value is not None:
                    rows.setdefault(spec, []).append((labels, value))
        return [
            Family(spec, tuple(regrouped(Family(spec, tuple(told)), lambda key: key).items()))
            for spec, told in rows.items()
        ]


def _flower(frame: Frame, telling: Telling, _: WorkerCounts, now: datetime) -> Told:
    for source in _of("celery", frame):
        for one in telling.tally.of(source.key).series:
            yield from _flower_task(one, telling.bounds, fresh=is_fresh(source, now))
        if not is_fresh(source, now):
            continue
        for name, worker in _workers(source):
            yield FLOWER_ONLINE, (name,), float(worker.state is not WorkerState.DEAD)
            yield FLOWER_EXECUTING, (name,), worker.running


def _flower_task(one: TaskEventsReading, bounds: LabelBounds, *, fresh: bool) -> Told:
    task = bounds.task(one.task) if one.task else ""
    for kind, count in one.counts.items():
        if kind is not EventKind.LOST:
            yield FLOWER_EVENTS, (_GENERIC, f"task-{kind.value}", task), float(count)
    yield FLOWER_RUNTIME, (_GENERIC, _detailed(one.task, bounds)), one.runtime
    if one.in_flight is None or not fresh:
        return
    of = one.counts
    waiting = of.get(EventKind.RECEIVED, 0) - sum(
        of.get(kind, 0) for kind in (EventKind.STARTED, EventKind.REVOKED, EventKind.REJECTED)
    )
    prefetched = min(one.in_flight, max(0, waiting))
    yield FLOWER_PREFETCHED, (_GENERIC, task), float(prefetched)
    if not prefetched:
        yield FLOWER_PREFETCH_TIME, (_GENERIC, task), 0.0


def _celery_exporter(frame: Frame, telling: Telling, _: WorkerCounts, now: datetime) -> Told:
    for source in _of("celery", frame):
        for one in telling.tally.of(source.key).series:
            yield from _celery_task(one, source, telling.bounds)
            names = _task_and_queue(one, source, telling.bounds)
            for exception, count in failures_by_class(one).items():
                yield CELERY_FAILED, (names[0], _GENERIC, exception, names[1]), float(count)
        if not is_fresh(source, now):
            continue
        for name, worker in _workers(source):
            host = name.rpartition("@")[2]
            alive = worker.state is not WorkerState.DEAD
            yield CELERY_UP, (host,), float(alive)
            yield CELERY_ACTIVE, (host,), worker.running if alive else 0.0
        yield from _celery_queues(source, telling.bounds)


def _celery_task(one: TaskEventsReading, source: Source, bounds: LabelBounds) -> Told:
    task, queue = _task_and_queue(one, source, bounds)
    for kind, spec in CELERY_EVENTS.items():
        if kind in one.counts or not bounds.crowded:
            yield spec, (task, _GENERIC, queue), float(one.counts.get(kind, 0))
    detailed = _detailed(one.task, bounds)
    queue = OTHER if detailed == OTHER else queue
    yield CELERY_RUNTIME, (detailed, _GENERIC, queue), one.runtime
    yield CELERY_WAIT, (detailed, _GENERIC, queue), one.wait


def _task_and_queue(one: TaskEventsReading, source: Source, bounds: LabelBounds) -> tuple[str, str]:
    queue = bounds.queue(source.key, one.queue) if one.queue else _DEFAULT_QUEUE
    return bounds.task(one.task) if one.task else "", queue


def _celery_queues(source: Source, bounds: LabelBounds) -> Told:
    reading = source.reading
    if reading is None:
        return
    living = [worker for worker in reading.workers if worker.state is not WorkerState.DEAD]
    told = all(worker.queues is not None for worker in living)
    for queue in reading.queues:
        label = (bounds.queue(source.key, queue.name),)
        yield CELERY_LENGTH, label, queue.depth
        if source.info.broker == "rabbitmq":
            yield CELERY_CONSUMERS, label, queue.consumers
        if told:
            here = [worker for worker in living if queue.name in (worker.queues or ())]
            yield CELERY_WORKERS, label, float(len(here))
            sizes = [worker.concurrency for worker in here if worker.concurrency is not None]
            yield CELERY_PROCESSES, label, float(sum(sizes)) if len(sizes) == len(here) else None


def _rq_exporter(frame: Frame, telling: Telling, counts: WorkerCounts, now: datetime) -> Told:
    found = False
    for source in _of("rq", frame):
        found = True
        if source.reading is None or not is_fresh(source, now):
            continue
        for worker in source.reading.workers:
            state = _RQ_STATES.get(worker.state or WorkerState.UNKNOWN)
            if state is not None:
                name, queues = counts.group(worker)
                yield RQ_WORKERS, (name, state, queues), 1.0
        for queue in source.reading.queues:
            label = telling.bounds.queue(source.key, queue.name)
            for status, number in _RQ_JOBS.items():
                yield RQ_JOBS, (label, status), getattr(queue, number)
    if found:
        for group, (succeeded, failed) in counts.told():
            yield RQ_SUCCESS, group, float(succeeded)
            yield RQ_FAILED, group, float(failed)
        yield RQ_POLLS, (), counts.polls


def _of(system: str, frame: Frame) -> Iterator[Source]:
    return (source for source in frame.snapshot.sources if source.info.system == system)


def _workers(source: Source) -> Iterator[tuple[str, WorkerReading]]:
    """By their steady names, the living first; those nothing was heard of yet are left out."""
    workers = source.reading.workers if source.reading else ()
    known = [worker for worker in workers if worker.state not in {None, WorkerState.UNKNOWN}]
    known.sort(key=lambda worker: worker.state is WorkerState.DEAD)
    names: set[str] = set()
    for worker in known:
        name = steady(worker.name)
        if name in names or len(names) < MOST_WORKERS:
            names.add(name)
            yield name, worker


def _detailed(task: str | None, bounds: LabelBounds) -> str:
    return task if task and bounds.has_histograms(task) else OTHER if task else ""


_Teller = Callable[["Frame", Telling, WorkerCounts, "datetime"], Told]

PEERS: Final[Mapping[str, _Teller]] = {
    "flower": _flower,
    "celery-exporter": _celery_exporter,
    "rq-exporter": _rq_exporter,
}
"""The exporters whose names we know."""
