"""What events told of single tasks and of workers, kept for requests, which are many threads'."""

from __future__ import annotations

import time
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.state.redaction import redaction_of
from bgtop.state.seen_tasks import FACTS, TIMES, SeenTasks, matching
from bgtop.state.seen_workers import SeenWorkers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from bgtop.state.seen_tasks import SeenQuery, SeenTask
    from bgtop.task_events import ToldEvent

_AT_ONCE: Final = 50
"""Tasks or events that are gone through before somebody else may run."""

_SHORT: Final = 256
"""Letters of texts that were looked at for secrets and are known for a while: many come again."""

_OF_JOBS: Final = frozenset({"args", "kwargs", "result", "exception", "traceback"})


class Window(NamedTuple):
    """Some of the tasks that were asked for, as Flower tells them."""

    tasks: list[dict[str, Any]]
    found: int
    """How many there are that were asked for."""
    total: int
    """How many there are to be seen at all."""


class Seen:
    """Owns them; ``redact`` is the setting, by which secrets are hidden before anything is kept."""

    def __init__(self, redact: str) -> None:
        redaction = redaction_of(redact)
        self._hide = None if redaction is None else redaction.text
        self._hide_short = None if redaction is None else lru_cache(4096)(redaction.text)
        self._lock = Lock()
        self._tasks, self._workers = SeenTasks(), SeenWorkers()

    def hear(self, source: str, told: Sequence[ToldEvent]) -> None:
        """Learn what was told of a source, by its key."""
        now = time.monotonic()
        for first in range(0, len(told), _AT_ONCE):
            some = [self._harmless(one) for one in told[first : first + _AT_ONCE]]
            with self._lock:
                for one in some:
                    self._tasks.take(source, one, now)
                    self._workers.take(source, one)
            time.sleep(0)  # it lets the thread that answers requests run at once
        with self._lock:
            self._tasks.expire(now)

    def tasks(
        self, sources: Collection[str], shown: Callable[[str | None], bool], query: SeenQuery
    ) -> Window:
        """Tasks of these sources, in their order, of queues that may be ``shown``."""
        with self._lock:
            everything = list(self._tasks)
        visible = [task for task in everything if task.source in sources and shown(task.queue)]
        found = matching(visible, query)
        asked = query.window(found)
        made: list[dict[str, Any]] = []
        for first in range(0, len(asked), _AT_ONCE):
            with self._lock:  # so that nothing is learned while a task is written down
                made += [_fields(one) for one in asked[first : first + _AT_ONCE]]
        return Window(made, len(found), len(visible))

    def task(
        self, sources: Collection[str], shown: Callable[[str | None], bool], id_: str
    ) -> dict[str, Any] | None:
        """One of them."""
        with self._lock:
            for source in sources:
                task = self._tasks.get(source, id_)
                if task is not None and shown(task.queue):
                    return _fields(task)
        return None

    def worker(self, source: str, name: str) -> dict[str, Any]:
        """What is known of a worker from its events alone; nothing if none was heard."""
        with self._lock:
            found = self._workers.get(source, name)
            if found is None:
                return {}
            return {
                **found.counts,
                "freq": found.freq,
                "clock": found.clock,
                "heartbeats": sorted(found.moments),
                "sw_ident": found.software,
            }

    def _harmless(self, told: ToldEvent) -> ToldEvent:
        hide, hide_short = self._hide, self._hide_short
        if hide is None or hide_short is None or _OF_JOBS.isdisjoint(told.facts):
            return told
        facts = dict(told.facts)
        for name in _OF_JOBS & facts.keys():
            text = facts[name]
            if isinstance(text, str):
                facts[name] = hide_short(text) if len(text) <= _SHORT else hide(text)
        return told._replace(facts=facts)


def _fields(task: SeenTask) -> dict[str, Any]:
    """The task object of Flower; ``worker`` is there once one was."""
    told = {name: getattr(task, name) for name in (*FACTS, *TIMES) if name != "queue"}
    fields = {
        "uuid": task.uuid,
        **told,
        "state": task.state,
        "timestamp": task.timestamp,
        "clock": task.clock,
        "client": task.client,
        "root": task.root_id,
        "parent": task.parent_id,
        "children": [*task.children],
    }
    return fields if task.worker is None else {**fields, "worker": task.worker}
