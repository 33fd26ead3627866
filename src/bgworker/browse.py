"""Looking at single jobs: lists of bounded cost, read-only, whatever the size of the history.

Each list walks an index from its head. Where a queue or a worker is asked for, it stops after
:data:`SPAN` jobs of all queues, found or not.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bgworker.engines.sqlite.records import beginning_of
from bgworker.inspector import Inspector
from bgworker.model import JobId, Millis, job_number
from bgworker.states import JobState
from bgworker.values import dataclass

SPAN = 10_000
"""Jobs of a state, of all queues, among which those of one queue or worker are looked for."""
SAMPLE = 5_000
"""Ended jobs the figures of the tasks are made of; waiting ones that are counted by task."""
ARGS_SHOWN = 400
"""Characters of a job's arguments that a list holds."""
_LANES = 200
_KIN = 100
"""Parents and children that are named of one job."""

_DELAYED = frozenset({JobState.SCHEDULED, JobState.RETRYING})
_BAD = frozenset({JobState.FAILED, JobState.DEAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """One job as a list shows it. ``args`` is the beginning of the JSON text ``[[…], {…}]``."""

    id: JobId
    task: str
    queue: str
    state: JobState
    priority: int
    args: str
    enqueued_at: Millis
    run_at: Millis
    started_at: Millis | None
    finished_at: Millis | None
    attempts: int
    worker: str | None
    error: tuple[str, str] | None
    """Type and message of the last failure."""


@dataclass(frozen=True, slots=True)
class JobLines:
    """By state, the next to be taken or the newest first; ``more`` when there are others.

    Jobs that wait for their next try are in one order with those that are scheduled, and with them.
    """

    of: Mapping[JobState, Sequence[JobLine]]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """The jobs of one task; ``run_ms`` are the durations of those ended ones that were started.

    ``waiting`` is ``None`` where more jobs wait than are counted.
    """

    name: str
    waiting: int | None
    running: int
    succeeded: int
    failed: int
    run_ms: Sequence[Millis]
    exceptions: Mapping[str, int]
    last_ended_at: Millis | None


@dataclass(frozen=True, slots=True)
class Figures:
    """``sampled`` is how many ended jobs were looked at, ``None`` if that was all of them."""

    tasks: Sequence[TaskFigures]
    sampled: int | None


def lines(
    inspector: Inspector,
    states: Collection[JobState],
    *,
    queue: str | None = None,
    worker: str | None = None,
    limit: int = 100,
) -> JobLines:
    """Jobs in these states, up to ``limit`` of each; of one queue, of one worker.

    Raises what :meth:`bgworker.inspector.Inspector.stats` raises.
    """
    look = _Look(inspector, queue, worker, limit)
    asked = set(states) - {JobState.RETRYING}
    found = {state: look.ids(state) for state in JobState if state in asked}
    wanted = [id_ for ids in found.values() for id_ in ids]
    lines = {
        int(line.id): line
        for query in ("live_lines", "final_lines")
        for line in map(_line, inspector.rows(query, ARGS_SHOWN, json.dumps(wanted)))
    }
    of = {
        # A job may have moved on since its id was found: it is then where it belongs, or left out.
        state: [line for id_ in ids if (line := lines.get(id_)) and _belongs(line, state)]
        for state, ids in found.items()
    }
    return JobLines(of, look.more)


def waiting_ids(inspector: Inspector, queue: str) -> list[JobId]:
    """All jobs that a worker could take from this queue now, the next to be taken first."""
    everything = _Look(inspector, queue, None, -1)
    return [JobId(str(id_)) for id_ in everything.queued()]


def kin(inspector: Inspector, job: str) -> tuple[Sequence[JobId], Sequence[JobId]]:
    """What a job still waits for, or came after when it was cancelled; and what waits for it."""
    number = job_number(job)
    parents = [id_ for (id_,) in inspector.rows("parents", number, _KIN)]
    if not parents:
        parents = [
            id_
            for after, _ in inspector.rows("came_after", number)
            for id_ in (json.loads(after) if after else ())
        ]
    children = [id_ for (id_,) in inspector.rows("some_children", number, _KIN)]
    return [JobId(str(id_)) for id_ in dict.fromkeys(parents)], [
        JobId(str(id_)) for id_ in children
    ]


def figures(inspector: Inspector) -> Figures:
    """What is known of each task from the newest jobs that ended, in the order of their names."""
    tallies = _tallies(inspector)
    ended = sum(n for (_, state), n in tallies.items() if state.is_final)
    runs = inspector.rows("newest_runs", SAMPLE)
    waiting = _waiting_tasks(inspector, tallies)
    running = Counter(task for (task,) in inspector.rows("claimed_tasks", SPAN))
    by_task: dict[str, list[Sequence[Any]]] = {task: [] for task in (*(waiting or ()), *running)}
    for task, *run in runs:
        by_task.setdefault(task, []).append(run)
    tasks = [
        _figures(name, by_task[name], None if waiting is None else waiting[name], running[name])
        for name in sorted(by_task)
    ]
    return Figures(tasks, len(runs) if ended > len(runs) else None)


class _Look:
    """One list: what is asked for, and whether there is more than it shows."""

    def __init__(
        self, inspector: Inspector, queue: str | None, worker: str | None, limit: int
    ) -> None:
        self._rows = inspector.rows
        self._queue, self._limit = queue, limit
        self._one_more = limit if limit < 0 else limit + 1
        self._tallies = _tallies(inspector)
        self._of_worker = worker is not None
        numbers = [] if worker is None else self._rows("worker_number", worker)
        # No worker has the number -1, so that one nobody knows has no jobs.
        self._worker = None if worker is None else numbers[0][0] if numbers else -1
        self.more = False

    def ids(self, state: JobState) -> Sequence[int]:
        """The first jobs in this state."""
        held = state is JobState.RUNNING or state.is_final
        stored = self._count(state, self._queue)
        if not stored or (self._of_worker and not held):
            return []
        found = self._found(state)
        cut = state is not JobState.QUEUED and self._among(state) > SPAN
        missed = self._of_worker or stored > len(found)
        self.more = self.more or len(found) > self._limit or (cut and missed)
        return found[: self._limit]

    def queued(self) -> list[int]:
        """Each queue and lane is in order: what comes first of all is merged from their heads."""
        queues = [name for name, state in self._tallies if state is JobState.QUEUED]
        chosen = [name for name in queues if self._queue in {None, name}]
        heads = [self._rows("queued_free", name, self._one_more) for name in chosen]
        most = _LANES if self._limit >= 0 else -1
        heads += [
            self._rows("queued_lane", lane, queue, self._one_more)
            for lane, queue in self._rows("lanes_with_jobs", self._queue, most)
        ]
        ids = [id_ for *_, id_ in heapq.merge(*heads)]
        return ids if self._limit < 0 else ids[: self._one_more]

    def _found(self, state: JobState) -> list[int]:
        queue, worker = self._queue, self._worker
        if state is JobState.QUEUED:
            return self.queued()
        if state is JobState.RUNNING:
            return self._firsts("claimed_ids", queue, worker)
        if state is JobState.SCHEDULED:
            return self._firsts("delayed_ids", SPAN, queue)
        if state is JobState.BLOCKED:
            return self._firsts("blocked_ids", SPAN, queue)
        if state in _BAD:
            return self._firsts("newest_bad_ids", state.value, SPAN, queue, worker)
        return self._firsts("newest_ended_ids", SPAN, state.value, queue, worker)

    def _firsts(self, query: str, *parameters: object) -> list[int]:
        return [id_ for (id_,) in self._rows(query, *parameters, self._one_more)]

    def _among(self, state: JobState) -> int:
        """How many jobs there are in the index this state is looked for in."""
        if state.is_final and state not in _BAD:
            return sum(n for (_, counted), n in self._tallies.items() if counted.is_final)
        return self._count(state, None)

    def _count(self, state: JobState, queue: str | None) -> int:
        states = _DELAYED if state is JobState.SCHEDULED else {state}
        return sum(
            n
            for (name, counted), n in self._tallies.items()
            if counted in states and queue in {None, name}
        )


def _tallies(inspector: Inspector) -> dict[tuple[str, JobState], int]:
    """How many jobs of each queue are in each state."""
    found: dict[tuple[str, JobState], int] = {}
    for queue, _, state, n, _ in inspector.rows("tallies"):
        if n:
            place = (queue, JobState(state))
            found[place] = found.get(place, 0) + n
    return found


def _belongs(line: JobLine, state: JobState) -> bool:
    return line.state is state or (state is JobState.SCHEDULED and line.state in _DELAYED)


def _line(row: Sequence[Any]) -> JobLine:
    known, (attempts, worker, kind, message) = beginning_of(row)
    error = None if kind is None else (str(kind), str(message or ""))
    return JobLine(**known, attempts=attempts, worker=worker, error=error)


def _waiting_tasks(
    inspector: Inspector, tallies: Mapping[tuple[str, JobState], int]
) -> Counter[str] | None:
    """Waiting jobs by task; ``None`` where they are too many to be counted."""
    queues = [(name, n) for (name, state), n in tallies.items() if state is JobState.QUEUED]
    if sum(n for _, n in queues) > SAMPLE:
        return None
    found = Counter(
        task for name, _ in queues for (task,) in inspector.rows("head_of_queue", name, SAMPLE)
    )
    for task, n in inspector.rows("tasks_in_lanes", SAMPLE):
        found[task] += n
    return found


def _figures(
    name: str, runs: Sequence[Sequence[Any]], waiting: int | None, running: int
) -> TaskFigures:
    ends = Counter(JobState(state) for state, *_ in runs)
    failures = (kind for state, _, _, kind in runs if JobState(state) in _BAD)
    return TaskFigures(
        name=name,
        waiting=waiting,
        running=running,
        succeeded=ends[JobState.SUCCEEDED],
        failed=sum(ends[state] for state in _BAD),
        run_ms=[max(0, until - since) for _, since, until, _ in runs if since is not None],
        exceptions=Counter(str(kind or "unknown") for kind in failures),
        last_ended_at=max((until for _, _, until, _ in runs), default=None),
    )
