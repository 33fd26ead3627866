"""What only Celery's own events and results can show to be wrong; read while a checkup asks for it.

A subscription of its own hears all events for the seconds of the checkup: task events would cost a
live view too much. Results without expiry are counted in a bounded sample of keys.
"""

from __future__ import annotations

from collections import Counter
from time import time
from typing import TYPE_CHECKING, Final

from bgtop.backends.celery.heartbeats import literally
from bgtop.backends.celery.wire import task_kinds, worker_events
from bgtop.backends.clocks import Clock
from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import RedisSubscription, pack
from bgtop.contracts import BackendError
from bgtop.counted import counted
from bgtop.symptoms import DRIFT, clock_drift, finding
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bgtop.backends.celery.wire import WorkerEvent
    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.model import Finding

KEPT: Final = 20
"""Results without expiry that are no accident any more."""

_STEPS: Final = 20
_PER_STEP: Final = 1000
_RESULT: Final = b"celery-task-meta-"


@dataclass(slots=True)
class _Node:
    """What was heard of one worker."""

    first: int | None = None
    last: int | None = None
    pids: list[int] = field(default_factory=list)
    tasks: int = 0
    clock: Clock = field(default_factory=Clock)

    def hear(self, event: WorkerEvent, since: float, now: float) -> None:
        if event.processed is not None:
            self.first = event.processed if self.first is None else self.first
            self.last = event.processed
        if event.pid is not None and self.pids[-1:] != [event.pid]:
            self.pids = [*self.pids[-9:], event.pid]
        if event.timestamp is not None:
            self.clock.hear(event.timestamp, since=since, now=now)

    @property
    def is_shared(self) -> bool:
        """Whether two processes take turns; a restart changes the process once."""
        return len(self.pids) > len(set(self.pids))


class Checkup:
    """Listens and counts, from the first poll that asks until the source is closed."""

    def __init__(self, link: RedisSubscription, topic: bytes) -> None:
        self.link = link
        self._topic = topic
        self._subscribed: set[bytes] = set()
        self._deaf = False
        self._nodes: dict[str, _Node] = {}
        self._kinds: Counter[str] = Counter()
        self._since = 0.0
        self._cursor: bytes | None = b"0"
        self._steps = 0
        self._results: list[bytes] = []
        self._sampled = self._kept = 0
        self._visibility: set[str] = set()

    def listen(self, prefixes: Iterable[bytes]) -> None:
        """Take the events that came since the last look; those that are refused are not missed."""
        began = time()
        try:
            for prefix in prefixes:
                if prefix not in self._subscribed:
                    self._since = self._since if self._subscribed else began
                    self._subscribed.add(prefix)
                    pattern = literally(prefix + self._topic) + b"/*"
                    self._deaf = self.link.subscribe(pattern) is not None or self._deaf
            messages = self.link.messages()
            now = time()  # by which all of them are here, however long that took
            for channel, payload in messages:
                self._hear(channel, payload, now)
        except BackendError:
            self._subscribed.clear()
        self._since = began

    def _hear(self, channel: bytes, payload: bytes, now: float) -> None:
        kind = channel.rpartition(b"/")[2]
        if kind.startswith(b"worker."):
            for event in worker_events(payload):
                self._nodes.setdefault(event.node, _Node()).hear(event, self._since, now)
        elif kind.startswith(b"task."):
            for task, node in task_kinds(payload):
                self._kinds[task] += 1
                if task != "task-sent":
                    self._nodes.setdefault(node, _Node()).tasks += 1

    def requests(self) -> list[Request]:
        """The next step through the keys, and the expiry of the results found in the last one."""
        asked = [pack(("TTL", key)) for key in self._results]
        if self._cursor is not None and self._steps < _STEPS:
            pattern = b"*" + _RESULT + b"*"
            asked.append(pack(("SCAN", self._cursor, "MATCH", pattern, "COUNT", _PER_STEP)))
        return asked

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        count = len(self._results)
        for reply in replies[:count]:
            if isinstance(reply, int) and reply != -2:
                self._sampled += 1
                self._kept += reply == -1
        self._results = []
        match replies[count:]:
            case [[bytes(cursor), list(keys)]]:
                self._steps += 1
                self._cursor = None if cursor == b"0" else cursor
                self._results = [key for key in keys if isinstance(key, bytes)][:200]
            case _:
                self._cursor = None

    def warn(self, redelivered: str) -> None:
        """Note that a delivery is about to be repeated."""
        self._visibility.add(redelivered)

    def findings(self) -> Iterator[Finding]:
        """What follows from all that was heard and counted."""
        if self._deaf:
            yield finding(
                "warning",
                "celery",
                "the server does not let us listen to task events: clocks, names that are there "
                "twice, and events that are off are not looked for",
                f"ACL SETUSER … '&{text(self._topic)}/*'",
            )
        for name, node in sorted(self._nodes.items()):
            yield from _of_node(name, node)
        if self._kinds["task-received"] and not self._kinds["task-sent"]:
            yield task_sent_off(self._kinds["task-received"])
        if self._kept >= KEPT:
            yield finding(
                "results-kept",
                "celery",
                f"{self._kept} of {self._sampled} results looked at have no expiry",
                "result_expires = 86400 in the configuration of the workers",
            )
        for words in sorted(self._visibility):
            yield finding(
                "visibility-timeout",
                "celery",
                words,
                'broker_transport_options = {"visibility_timeout": SECONDS} above the longest '
                "runtime, for producers and workers",
            )


def events_off(name: str, begun: int) -> Finding:
    """A worker that ran tasks and told nothing."""
    return finding(
        "events-off",
        text(name.encode("utf-8", "replace")),
        f"it began {counted(begun, 'task')} and sent no event of any",
        f"celery -A APP control enable_events -d {_word(name)}, or start it with -E",
    )


def task_sent_off(received: int) -> Finding:
    """Producers of which nothing was heard."""
    return finding(
        "task-sent-off",
        "celery",
        f"{received} task-received and no task-sent events were heard",
        "task_send_sent_event = True in the configuration of the producers",
    )


def _of_node(name: str, node: _Node) -> Iterator[Finding]:
    label = text(name.encode("utf-8", "replace"))
    done = (node.last or 0) - (node.first or 0)
    if done > 0 and not node.tasks:
        yield events_off(name, done)
    if node.is_shared:
        yield finding(
            "duplicate-worker",
            label,
            f"heartbeats of this name come in turns from the processes "
            f"{', '.join(map(str, sorted(set(node.pids))))}",
            "start each worker with a name of its own: celery worker -n NAME@%h",
        )
    if abs(node.clock.ahead) > DRIFT:
        yield clock_drift(label, node.clock.ahead, name.partition("@")[2])


def _word(name: str) -> str:
    from shlex import quote

    return quote(name) if name else ""
