"""How many names outside systems are told: each name is a series that they keep for weeks.

The bounds hold for all sources together. Who came first keeps its name; everything else is called
``other``. What counts only grow, so who lost its name does not get it back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

OTHER: Final = "other"
MOST_TASKS: Final = 200
MOST_QUEUES: Final = 2_000
MOST_WORKERS: Final = 200

CROWDED_COUNTERS: Final = 1_400
"""Series that tasks share when there are more names than have a label."""

CROWDED_HISTOGRAMS: Final = 8
"""Tasks with histograms then; one takes as many series as a dozen of counters."""

QueueKey: TypeAlias = tuple[str, str]
"""(key of the source, queue)"""


class LabelBounds:
    """Which tasks and queues have labels of their own; told of all names before it is asked.

    ``ways`` is under how many names each task is told: our own, and those of other exporters.
    """

    def __init__(self, ways: int = 1) -> None:
        self._most_detailed = CROWDED_HISTOGRAMS // ways
        self._tasks: dict[str, int] = {}
        """The series each takes, by the order in which they came; at most :data:`MOST_TASKS`."""
        self._queues: dict[QueueKey, None] = {}
        self._kept: frozenset[str] = frozenset()
        self._detailed: frozenset[str] = frozenset()
        self.crowded = False
        """Whether there were ever more names of tasks than labels."""
        self.changed = False
        """Whether an answer may be another than before; set back by who heeds it."""

    def take_tasks(self, costs: Iterable[tuple[str, int]]) -> None:
        """Learn the names of all tasks, each with the series its counters take."""
        for task, cost in costs:
            if task in self._tasks or len(self._tasks) < MOST_TASKS:
                self._tasks[task] = cost
            elif task != OTHER:
                self.crowded = True
        before = self._kept, self._detailed
        self._kept = frozenset(self._tasks)
        self._detailed = self._kept
        if self.crowded:
            within = self._within_budget()
            self._kept = frozenset(within)
            self._detailed = frozenset(within[: self._most_detailed])
        self.changed |= before != (self._kept, self._detailed)

    def _within_budget(self) -> list[str]:
        left = CROWDED_COUNTERS
        kept = []
        for task, cost in self._tasks.items():
            left -= cost
            if left < 0:
                break
            kept.append(task)
        return kept

    def take_queues(self, queues: Iterable[QueueKey]) -> None:
        """Learn which queues there are now; those that are gone make room for others."""
        present, before = dict.fromkeys(queues), self._queues
        self._queues = {key: None for key in self._queues if key in present}
        for key in present:
            if len(self._queues) >= MOST_QUEUES:
                break
            self._queues.setdefault(key)
        self.changed |= self._queues != before

    def task(self, name: str) -> str:
        """The label of this task."""
        return name if name in self._kept else OTHER

    def has_histograms(self, task: str) -> bool:
        """Whether the times of this task are told apart from those of others."""
        return task in self._detailed

    def queue(self, source: str, name: str) -> str:
        """The label of this queue."""
        return name if (source, name) in self._queues else OTHER


_GENERATED: Final = re.compile(r"^gen\d+(?=@)")
_DRAWN: Final = "[bcdfghjklmnpqrstvwxz2456789]"
"""The letters Kubernetes draws names from: no vowels, so that no words come of it."""

_POD: Final = re.compile(rf"-(?:{_DRAWN}{{5,10}}|[0-9a-f]{{6,10}})-{_DRAWN}{{5}}$")
_ADDRESS: Final = re.compile(r"^\d+(\.\d+){3}$")
_NUMBER: Final = re.compile(r"[.:#]\d+$")
_RANDOM: Final = re.compile(
    r"(?<![0-9a-zA-Z])(?=[0-9a-f-]*\d)[0-9a-f]{12,}(?:-[0-9a-f]+)*", re.ASCII
)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def steady(worker: str) -> str:
    """A worker's name without what is new each time it starts: process numbers, random endings.

    ``gen77@host`` becomes ``gen@host``, ``celery@mail-7d9f8b6c5d-x2x4z`` (a pod) ``celery@mail``.
    What is nothing but random becomes ``*``.
    """
    name, sign, host = _GENERATED.sub("gen", worker).rpartition("@")
    if not _ADDRESS.match(host):
        host = _NUMBER.sub("", _POD.sub("", host))
    return f"{_drawn(name)}{sign}{_drawn(host)}"


def _drawn(part: str) -> str:
    return _RANDOM.sub("*", _UUID.sub("*", part))
