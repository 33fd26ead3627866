"""Single tasks as Celery's events tell of them: how each came to be what it is. Pure, bounded.

Events may be late or missing. What an event of an earlier step says of a task that has gone on is
learned, but does not turn it back; only who tries again may. These are the rules of Celery's own
``State``, which Flower shows (read there, version 5.7), so that both show the same.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from bgworker.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bgtop.task_events import ToldEvent

_STATES: Final = {
    "task-sent": "PENDING",
    "task-received": "RECEIVED",
    "task-started": "STARTED",
    "task-succeeded": "SUCCESS",
    "task-failed": "FAILURE",
    "task-retried": "RETRY",
    "task-revoked": "REVOKED",
    "task-rejected": "REJECTED",
}
_FROM_LAST_TO_FIRST: Final = (
    *("SUCCESS", "FAILURE", "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING"),
)
_STEP: Final = {state: number for number, state in enumerate(_FROM_LAST_TO_FIRST)}
_ENDED: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})

_OF_CALL: Final = (
    *("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"),
)
"""What a task is asked to do; the rest is about how that goes."""

FACTS: Final = (
    *_OF_CALL,
    *("exchange", "routing_key", "queue", "result", "runtime", "exception", "traceback"),
)
"""What of an event is learned about a task, beside who told it and when."""

TIMES: Final = (
    *("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected"),
)
_ABOUT_CALL, _ABOUT = frozenset(_OF_CALL), frozenset(FACTS)
_COST: Final = 800
"""Bytes that a task takes, beside its texts; measured."""

_COST_OF_A_CHILD: Final = 100


Order = Literal["name", "state", "received", "started", "timestamp"]
Column = Literal[
    "uuid",
    "args",
    "kwargs",
    "result",
    "exception",
    "worker",
    "runtime",
    "eta",
    "expires",
    "retries",
    "exchange",
    "routing_key",
    "revoked",
]
"""What a table of tasks can be ordered by besides."""

_Key: TypeAlias = tuple[str, str]
"""The source of a task, and its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBounds:
    """How much is remembered: bytes, and seconds after the last word about a task."""

    bytes: int = 32_000_000
    age: float = 86_400.0


class SeenTask:
    """One task; ``None`` is what was not told. Times are epoch seconds by the clock of the teller.

    ``args``, ``kwargs`` and ``result`` are what Python writes of them, cut by Celery.
    """

    __slots__ = (
        *(*FACTS, *TIMES),
        *("children", "client", "clock", "heard_at", "size", "source", "state", "timestamp"),
        *("uuid", "worker"),
    )

    name: str | None
    args: str | None
    kwargs: str | None
    parent_id: str | None
    root_id: str | None
    queue: str | None
    result: str | None
    received: float | None
    started: float | None
    clock: int | None
    timestamp: float | None
    client: str | None
    worker: str | None

    def __init__(self, source: str, uuid: str) -> None:
        for unset in _UNSET:
            unset(self, None)
        self.source, self.uuid = source, uuid
        self.state = "PENDING"
        self.children: list[str] = []
        self.heard_at = 0.0
        self.size = _COST

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.state in _ENDED

    def learn(self, told: ToldEvent) -> None:
        """Take an event about this task, of a kind that is known."""
        state, facts = _STATES[told.kind], told.facts
        setattr(self, told.kind.removeprefix("task-"), told.at)
        if told.kind == "task-sent":
            self.client = told.teller
        else:
            self.worker = told.teller
        self.clock = told.clock if told.clock is not None else self.clock
        again = "RETRY" in (state, self.state)
        is_late = not again and _STEP[state] > _STEP[self.state]
        if not is_late:
            self.state, self.timestamp = state, told.at
            if state in {"PENDING", "RECEIVED"}:
                self._set("eta", None)  # that of the attempt before
                self._set("expires", None)
        known = _ABOUT_CALL if is_late and state == "RECEIVED" else _ABOUT
        for name, value in facts.items():
            if name in known:
                self._set(name, value)

    def _set(self, name: str, value: str | float | None) -> None:
        """Names may be shared, so ``size`` is what it takes at most."""
        before = getattr(self, name)
        if before != value:
            self.size += _size_of(value) - _size_of(before)
            setattr(self, name, value)


def _size_of(value: str | float | None) -> int:
    return sys.getsizeof(value) if isinstance(value, str) else 0


_UNSET: Final = [
    SeenTask.__dict__[name].__set__
    for name in (*FACTS, *TIMES, "clock", "timestamp", "client", "worker")
]
"""Set a field of a new task: there are thousands a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenQuery:
    """Which tasks: all conditions hold. One whose reception was not told passes those about it."""

    name: str | None = None
    worker: str | None = None
    state: str | None = None
    received_from: float | None = None
    received_until: float | None = None
    holds: Callable[[SeenTask], bool] | None = None
    order: Order | Column = "timestamp"
    descending: bool = True
    offset: int = 0
    limit: int | None = None

    def window(self, found: Sequence[SeenTask]) -> Sequence[SeenTask]:
        """Those from ``offset`` on, ``limit`` at most."""
        end = None if self.limit is None else self.offset + max(0, self.limit)
        return found[self.offset : end]

    def conditions(self) -> list[Callable[[SeenTask], bool]]:
        """What has to hold of a task, the cheapest first."""
        name, worker, state = self.name, self.worker, self.state
        since, until = self.received_from, self.received_until
        found: list[Callable[[SeenTask], bool]] = []
        if name is not None:
            found.append(lambda task: task.name == name)
        if worker is not None:
            found.append(lambda task: task.worker == worker)
        if state is not None:
            found.append(lambda task: task.state == state)
        if since is not None:
            found.append(lambda task: task.received is None or task.received >= since)
        if until is not None:
            found.append(lambda task: task.received is None or task.received <= until)
        return found if self.holds is None else [*found, self.holds]


class SeenTasks:
    """Remembers the tasks of all sources by what is told of them; its caller tells the time.

    Where there is no room, those that ended go first, the oldest of them before the others.
    """

    def __init__(self, bounds: SeenBounds | None = None) -> None:
        self._bounds = bounds or SeenBounds()
        self._open: OrderedDict[_Key, SeenTask] = OrderedDict()
        self._ended: OrderedDict[_Key, SeenTask] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)

    def __iter__(self) -> Iterator[SeenTask]:
        yield from self._open.values()
        yield from self._ended.values()

    def get(self, source: str, id_: str) -> SeenTask | None:
        """One task of a source (its key), if it is remembered."""
        return self._open.get((source, id_)) or self._ended.get((source, id_))

    def take(self, source: str, told: ToldEvent, now: float) -> None:
        """Learn an event; ``now`` in seconds of a clock that never goes back."""
        id_ = told.facts.get("uuid")
        if told.kind not in _STATES or not isinstance(id_, str) or not id_:
            return
        task = self.get(source, id_)
        if task is None:
            task = self._open[source, id_] = SeenTask(source, id_)
            self.bytes += task.size
        before = task.parent_id
        self.bytes -= task.size
        task.learn(told)
        task.heard_at = now
        self.bytes += task.size
        if task.parent_id is not None and task.parent_id != before:
            self._adopt(task)
        self._file(task)
        while self.bytes > self._bounds.bytes and len(self) > 1:
            self._forget(self._ended or self._open)

    def expire(self, now: float) -> None:
        """Forget those of which nothing was heard for too long."""
        for tasks in (self._open, self._ended):
            while tasks and next(iter(tasks.values())).heard_at < now - self._bounds.age:
                self._forget(tasks)

    def _adopt(self, task: SeenTask) -> None:
        parent = self.get(task.source, task.parent_id or "")
        if parent is not None:
            parent.children.append(task.uuid)
            parent.size += _COST_OF_A_CHILD
            self.bytes += _COST_OF_A_CHILD

    def _file(self, task: SeenTask) -> None:
        """Ended ones apart, each in the order of what was heard of them last."""
        here, there = self._open, self._ended
        if task.has_ended:
            here, there = there, here
        key = task.source, task.uuid
        there.pop(key, None)
        here[key] = task
        here.move_to_end(key)

    def _forget(self, tasks: OrderedDict[_Key, SeenTask]) -> None:
        _, task = tasks.popitem(last=False)
        self.bytes -= task.size


def matching(tasks: Iterable[SeenTask], query: SeenQuery) -> list[SeenTask]:
    """All that are asked for, in their order; what was not told comes first, turned round last.

    Those that are equal are in the order of their last word.
    """
    found = list(tasks)
    for condition in query.conditions():
        found = [task for task in found if condition(task)]
    found.sort(key=lambda task: task.timestamp or 0.0)
    if query.order != "timestamp":
        order = query.order
        found.sort(key=lambda task: _rank(getattr(task, order)))
    if query.descending:
        found.reverse()
    return found


def _rank(value: object) -> tuple[int, float, str]:
    """Nothing, then numbers, then texts: producers write some fields as either."""
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))
