"""Which of the processes that use a broker are workers, and how alive they are.

Every command of Dramatiq, an enqueue too, sets its process's score in ``__heartbeats__`` to the
time, so web processes are in there as well, and nothing says which is which. The rule:

- A process is a **worker** once one of these proves it: it owned fetched messages; its agent spoke;
  or twice its score grew between two looks between which nothing was pushed to the right end of any
  list of the server, so that it cannot have enqueued, while lists were popped, as workers do.
- A process whose agent says that it does not work, or that proved nothing and was silent for
  :data:`SILENCE` s, is **no worker**: each consumer of a worker, also of a busy one, asks about
  once a second.
- What never pauses and proved nothing yet is one or the other: its state is **unknown**.

A worker is dead when it was not heard for ``dead_after`` s. Dramatiq itself gives up a process
after 60 s; from then on it is listed only as long as it holds messages.

Everything here is pure: a fold over looks.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.clocks import Clock
from bgtop.backends.dramatiq.wire import DELAYED
from bgtop.backends.raw_names import text
from bgtop.model import WorkerReading, WorkerState
from bgtop.symptoms import DRIFT, clock_drift
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.backends.dramatiq.agent_words import Words
    from bgtop.model import Finding

SILENCE = 5.0
"""Seconds: no live worker is silent for so long, as consumers wait for a second at most."""

UNKNOWN_AFTER = 10.0
"""Seconds without a pause after which who proved nothing is listed as unknown."""

GIVEN_UP_AFTER = 60.0
"""Seconds after which Dramatiq's maintenance takes a process for dead (its default)."""


class Traffic(NamedTuple):
    """How often RPUSH (enqueueing) and LPOP (fetching) ran since the server began."""

    pushes: int
    pops: int


class Look(NamedTuple):
    """One look at ``__heartbeats__``: scores in seconds, and the traffic if it was asked for."""

    scores: Mapping[bytes, float]
    traffic: Traffic | None
    now: float
    """Seconds since the epoch by our clock."""


@dataclass(slots=True)
class _Process:
    """One member of ``__heartbeats__``; times are by our clock."""

    score: float
    seen_at: float
    heard_at: float
    quiet_beats: int = 0
    """How often it beat while nobody enqueued."""
    proved: bool = False
    clock: Clock = field(default_factory=Clock)
    paused: bool = False
    """Whether it was ever silent for longer than a worker is."""
    words: Words | None = None
    """What its agent says at present, if it has one."""
    holds: dict[bytes, int] = field(default_factory=dict)
    """By group of lists: of how many of them it holds messages it has not acknowledged."""


class Roster:
    """Folds looks and proofs; the mutable state of :mod:`workers`."""

    def __init__(self, dead_after: float) -> None:
        self._dead_after = dead_after
        self._processes: dict[bytes, _Process] = {}
        self._last: Look | None = None
        self._began = 0.0

    def start_over(self) -> None:
        """Forget the last look: what happened since, nobody saw."""
        self._last = None

    @property
    def processes(self) -> Iterable[bytes]:
        """All that are known at present."""
        return self._processes.keys()

    def look(self, look: Look) -> None:
        """Fold one look."""
        last, self._last = self._last, look
        if last is None:
            self._began = look.now
        advanced = []
        for process, score in look.scores.items():
            known = self._processes.get(process)
            if known is None:
                heard_at = min(score, look.now)
                self._processes[process] = _Process(score, look.now, heard_at)
            elif score > known.score:
                known.score = score
                # By the clock of its machine, held within what we have seen ourselves.
                since = known.heard_at if last is None else max(last.now, known.heard_at)
                # Of what came since nobody looked it is only known that it came before now.
                began = float("-inf") if last is None else last.now
                known.clock.hear(score, since=began, now=look.now)
                known.heard_at = min(max(score, since), look.now)
                advanced.append(known)
        for process in self._processes.keys() - look.scores.keys():
            del self._processes[process]
        if last is not None and _only_popped(last.traffic, look.traffic, len(advanced)):
            for known in advanced:
                known.quiet_beats += 1
                # Once may be chance: the two numbers of a look are not read in the same instant.
                known.proved = known.proved or known.quiet_beats > 1
        for known in self._processes.values():
            known.paused = known.paused or look.now - known.heard_at > SILENCE

    def held(self, process: bytes, source: bytes, count: int) -> None:
        """Note of how many lists of a group (``….DQ`` if delayed) a process holds messages."""
        known = self._processes.get(process)
        if known is None:
            return
        known.holds.pop(source, None)
        if count:
            known.holds[source] = count
            known.proved = True

    def forget_held(self, sources: Iterable[bytes]) -> None:
        """Nobody holds anything but of these groups of lists."""
        kept = frozenset(sources)
        for known in self._processes.values():
            if known.holds:
                known.holds = {s: count for s, count in known.holds.items() if s in kept}

    def hear(self, process: bytes, words: Words | None) -> None:
        """Note what the agent of a process says at present, if it has one."""
        known = self._processes.get(process)
        if known is not None:
            known.words = words
            known.proved = known.proved or (words is not None and words.works)

    def prove(self, processes: Iterable[bytes]) -> None:
        """These own, or owned, fetched messages."""
        for process in processes:
            if process in self._processes:
                self._processes[process].proved = True

    def _only_enqueues(self, known: _Process) -> bool:
        """Whether it is surely no live worker: it says so, or it paused and proved nothing."""
        if known.words is not None and not known.words.works:
            return True
        return known.paused and not known.proved

    def words_of(self, process: bytes) -> Words | None:
        """What the agent of this process said last."""
        known = self._processes.get(process)
        return None if known is None else known.words

    def live_words(self) -> list[Words] | None:
        """What all live workers say of themselves; ``None`` unless every one of them does."""
        said: list[Words] = []
        for known in self._processes.values():
            words = known.words
            silent = self._silence(known) > self._dead_after
            if silent or self._only_enqueues(known) or (words is not None and words.left):
                continue
            if words is None or words.current is None or words.queues is None:
                return None
            said.append(words)
        return said or None

    def queues_named(self) -> set[str]:
        """The queues that workers say they take from."""
        said = [known.words for known in self._processes.values() if known.words is not None]
        return {queue for words in said for queue in words.queues or ()}

    def is_anyone_unproved(self) -> bool:
        """Whether there is a process that may yet turn out to be a worker."""
        return not all(known.proved or known.words for known in self._processes.values())

    def unknown(self) -> int:
        """How many never pause and have proved nothing for some time."""
        return sum(self._is_unknown(known) for known in self._processes.values())

    def _is_unknown(self, known: _Process) -> bool:
        if known.proved or self._only_enqueues(known) or self._last is None:
            return False
        return self._last.now - known.seen_at >= UNKNOWN_AFTER

    def is_sure(self) -> bool:
        """Whether more looks at once would not tell more."""
        last = self._last
        if last is None:
            return False
        if last.now - self._began >= SILENCE:
            return True
        return all(known.proved or self._only_enqueues(known) for known in self._processes.values())

    def _silence(self, known: _Process) -> float:
        return 0.0 if self._last is None else self._last.now - known.heard_at

    def readings(self) -> tuple[WorkerReading, ...]:
        """The workers by name."""
        found = self._listed()
        return tuple(self._reading(name, found[name]) for name in sorted(found))

    def findings(self) -> tuple[Finding, ...]:
        """Whose clock is another than ours: each beat is told by its own."""
        return tuple(
            clock_drift(name, known.clock.ahead, known.words.host if known.words else None)
            for name, known in self._listed().items()
            if abs(known.clock.ahead) > DRIFT
        )

    def _listed(self) -> dict[str, _Process]:
        """The workers that are shown, by the names they are shown by."""
        found: dict[str, _Process] = {}
        for process, known in self._processes.items():
            if self._is_listed(known):
                name = text(process)
                while name in found:
                    name += "'"
                found[name] = known
        return found

    def counts(self) -> dict[str, object]:
        """What agents have counted by task, as they say it; also of workers that have left."""
        return {
            text(process): known.words.counts
            for process, known in self._processes.items()
            if known.words is not None and known.words.counts is not None
        }

    def _is_listed(self, known: _Process) -> bool:
        if known.words is not None and (known.words.left or not known.words.works):
            return False
        if not known.proved:
            # Young processes are not listed: most of them only enqueue.
            return self._is_unknown(known)
        patience = max(GIVEN_UP_AFTER, 2 * self._dead_after)
        return bool(known.holds) or self._silence(known) <= patience

    def _reading(self, name: str, known: _Process) -> WorkerReading:
        heard_at = datetime.fromtimestamp(max(known.heard_at, 0.0), timezone.utc)
        words = known.words
        if words is None:
            return WorkerReading(name=name, state=self._state(known), last_heartbeat_at=heard_at)
        return WorkerReading(
            name=name,
            state=self._state(known),
            last_heartbeat_at=heard_at,
            queues=words.queues,
            concurrency=words.threads,
            running=None if words.current is None else len(words.current),
            processed=words.processed,
            failed=words.failed,
            pid=words.pid,
            host=words.host,
            started_at=words.started_at,
            version=words.version,
            current=words.current,
        )

    def _state(self, known: _Process) -> WorkerState | None:
        """What is proved; ``None`` leaves a live worker to be judged by what it says it runs."""
        if self._silence(known) > self._dead_after:
            return WorkerState.DEAD
        if not known.proved:
            return WorkerState.UNKNOWN
        if known.words is not None and known.words.current is not None:
            return None
        # A thread that is free takes a fetched message at once, a delayed one not before its time.
        busy = any(not source.endswith(DELAYED) for source in known.holds)
        return WorkerState.ACTIVE if busy else WorkerState.IDLE


def _only_popped(before: Traffic | None, after: Traffic | None, advanced: int) -> bool:
    """Whether nothing was enqueued between two looks, and each who beat can have asked."""
    if before is None or after is None:
        return False
    return after.pushes == before.pushes and after.pops - before.pops >= advanced
