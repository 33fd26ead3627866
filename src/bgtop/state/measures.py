"""What is told to systems that keep numbers: a frame as named, typed and labelled measures.

They are made once for all exporters, which only write them down in their own ways. What cannot be
told is left out. The names are those of ``docs/reference/metrics.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from itertools import chain
from typing import Final, TypeAlias

from bgtop.task_events import BUCKETS, HistogramReading
from bgworker.values import dataclass, replace

Labels: TypeAlias = tuple[str, ...]
Value: TypeAlias = float | HistogramReading
Row: TypeAlias = tuple[Labels, Value]

FRESH_SECONDS: Final = 60.0
"""So long the gauges of a source that is down are still told; its age says that they are old."""


class Kind(str, Enum):
    """What a number is: it goes up and down, only grows, or is made of many."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    """How many and their sum: a histogram whose buckets nobody is told."""


class Fold(Enum):
    """What becomes of several values that are told as one."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Spec:
    """A measure as such.

    ``name`` is that of Prometheus, without ``_total``. ``path`` is the name in a tree, with labels
    in braces, ``tagged`` the one that goes with tags; neither, for what is told to Prometheus only.
    ``hidden`` labels belong to the path and not to Prometheus. ``buckets`` are those of
    :data:`bgtop.task_events.BUCKETS` that are told of a histogram.
    """

    name: str
    kind: Kind
    words: str
    labels: tuple[str, ...]
    path: str | None = None
    tagged: str | None = None
    fold: Fold = Fold.SUM
    hidden: frozenset[str] = frozenset()
    buckets: tuple[float, ...] = BUCKETS


@dataclass(frozen=True, slots=True)
class Family:
    """All values of one measure; the labels of each row in the order of ``spec.labels``."""

    spec: Spec
    rows: tuple[Row, ...]


_SOURCE: Final = ("source", "system")
_QUEUE: Final = (*_SOURCE, "queue")
_TASK: Final = (*_SOURCE, "queue", "task")
_HOME: Final = "{system}.{source}"
_SYSTEM: Final = frozenset({"system"})


def _of_source(name: str, words: str, **more: Fold | frozenset[str]) -> Spec:
    short = name.removeprefix("source_")
    return Spec(
        f"bgtop_{name}",
        Kind.GAUGE,
        words,
        _SOURCE,
        f"{_HOME}.{short}",
        short,
        **more,  # type: ignore[arg-type]
    )


UP: Final = _of_source("source_up", "1 if the last poll succeeded.", fold=Fold.MIN)
AGE: Final = _of_source(
    "snapshot_age_seconds", "Age of the newest reading.", fold=Fold.MAX, hidden=_SYSTEM
)
POLL: Final = _of_source(
    "poll_seconds", "How long the last poll took.", fold=Fold.MAX, hidden=_SYSTEM
)


def _of_queue(name: str, words: str, fold: Fold = Fold.SUM) -> Spec:
    return Spec(
        f"bgtop_queue_{name}",
        Kind.GAUGE,
        words,
        _QUEUE,
        f"{_HOME}.queue.{{queue}}.{name}",
        f"queue.{name}",
        fold,
    )


QUEUE_GAUGES: Final = tuple(
    _of_queue(*of)
    for of in (
        ("depth", "Messages a worker could take now."),
        ("unacked", "Messages delivered and not acknowledged."),
        ("scheduled", "Jobs that are not due yet."),
        ("deferred", "Jobs that wait for other jobs."),
        ("running", "Jobs being executed."),
        ("failed", "Failed jobs that are kept."),
        ("dead", "Dead letters."),
        ("consumers", "Who takes from the queue."),
        ("oldest_age_seconds", "How long the oldest waiting job has waited, at least.", Fold.MAX),
        ("drain_seconds", "When the queue is empty at the present rates.", Fold.MAX),
        ("paused", "1 if no worker may take from the queue.", Fold.MIN),
    )
)
QUEUE_COUNTERS: Final = tuple(
    Spec(f"bgtop_queue_{name}", Kind.COUNTER, words, _QUEUE)
    for name, words in (
        ("entered", "Jobs that ever entered the queue."),
        ("left", "Jobs that ever ended."),
    )
)
WORKERS: Final = Spec(
    "bgtop_workers",
    Kind.GAUGE,
    "Workers by state.",
    (*_SOURCE, "state"),
    f"{_HOME}.workers.{{state}}",
    "workers",
)
IN_FLIGHT: Final = Spec(
    "bgtop_tasks_in_flight",
    Kind.GAUGE,
    "Jobs received and not ended.",
    (*_SOURCE, "task"),
    f"{_HOME}.task.{{task}}.in_flight",
    "task.in_flight",
)
EVENTS: Final = Spec(
    "bgtop_task_events",
    Kind.COUNTER,
    "What happened to jobs.",
    (*_TASK, "event"),
    f"{_HOME}.task.{{task}}.{{event}}",
    "task.{event}",
)
RUNTIME: Final = Spec(
    "bgtop_task_runtime_seconds",
    Kind.HISTOGRAM,
    "How long runs took.",
    _TASK,
    f"{_HOME}.task.{{task}}.runtime",
    "task.runtime",
)
WAIT: Final = Spec(
    "bgtop_task_wait_seconds",
    Kind.HISTOGRAM,
    "From being sent to being started.",
    _TASK,
    f"{_HOME}.task.{{task}}.wait",
    "task.wait",
)
MISSED, FORGOTTEN = (
    Spec(f"bgtop_events_{name}", Kind.COUNTER, words, _SOURCE, f"{_HOME}.{tagged}", tagged)
    for name, tagged, words in (
        ("missed", "events.missed", "Events that did not reach us, at least."),
        ("forgotten", "events.forgotten", "Unfinished jobs dropped for want of room."),
    )
)
DROPPED: Final = Spec(
    "bgtop_export_dropped",
    Kind.COUNTER,
    "Numbers that an exporter threw away because nobody took them.",
    ("exporter",),
    "export.{exporter}.dropped",
    "export.dropped",
)
INFO: Final = Spec("bgtop_info", Kind.GAUGE, "The version of bgtop.", ("version",))

OWN: Final = (
    *(UP, AGE, POLL, *QUEUE_GAUGES, *QUEUE_COUNTERS, WORKERS, IN_FLIGHT, EVENTS),
    *(RUNTIME, WAIT, MISSED, FORGOTTEN, DROPPED, INFO),
)
"""All of them."""

_FOLDS: Final[Mapping[Fold, Callable[[float, float], float]]] = {
    Fold.SUM: lambda one, other: one + other,
    Fold.MAX: max,
    Fold.MIN: min,
}


def regrouped(family: Family, relabel: Callable[[Labels], Labels]) -> dict[Labels, Value]:
    """The values by other labels; those that fall together become one, as the measure says."""
    fold = _FOLDS[family.spec.fold]
    found: dict[Labels, Value] = {}
    for labels, value in family.rows:
        key = relabel(labels)
        before = found.get(key)
        found[key] = value if before is None else _joined(before, value, fold)
    return found


def _joined(one: Value, other: Value, fold: Callable[[float, float], float]) -> Value:
    if isinstance(one, HistogramReading) and isinstance(other, HistogramReading):
        return one + other
    if isinstance(one, HistogramReading) or isinstance(other, HistogramReading):
        raise TypeError("a measure is either a histogram or it is not")
    return fold(one, other)


def shown(family: Family) -> Family:
    """The same as it can be told Prometheus: without hidden labels, in letters that can be sent."""
    spec = family.spec
    if not spec.hidden and _is_sendable(family):
        return family
    kept = [at for at, name in enumerate(spec.labels) if name not in spec.hidden]
    rows = regrouped(family, lambda labels: tuple(_sendable(labels[at]) for at in kept))
    names = tuple(spec.labels[at] for at in kept)
    told = replace(spec, labels=names, hidden=frozenset())
    return Family(told, tuple(rows.items()))


def _is_sendable(family: Family) -> bool:
    """Whether no label has half a letter, as names in JSON can have; a look at all at once."""
    try:
        "".join(chain.from_iterable(labels for labels, _ in family.rows)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _sendable(label: str) -> str:
    return label.encode("utf-8", "backslashreplace").decode()


def families_of(rows: Iterable[tuple[Spec, Labels, Value | None]]) -> list[Family]:
    """The rows by measure, in the order of :data:`OWN`, without what cannot be told."""
    found: dict[str, list[Row]] = {}
    for spec, labels, value in rows:
        if value is not None:
            found.setdefault(spec.name, []).append((labels, value))
    return [Family(spec, tuple(found[spec.name])) for spec in OWN if spec.name in found]


def age_of(taken_at: datetime, now: datetime) -> float:
    """Seconds since a reading; a clock that was set back makes nothing younger than new."""
    return max(0.0, (now - taken_at).total_seconds())


def places(key: str, name: str) -> str:
    """The label of a source: its place, and what tells it from others of its system there."""
    words: Sequence[str] = key.split("\0")
    return " ".join([name, *words[2:]]) if len(words) > 2 else name
