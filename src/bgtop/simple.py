"""A backend made of four answers, for systems that need no more than that.

::

    class Mine(SimpleBackend):
        system, broker = "mine", "directory"

        def queue_names(self):
            return ["mail"]

        def queue_lengths(self, names):
            return {"mail": 3}

Threads, failures, closing and the shape of a reading are taken care of here. What this cannot say
(priorities, ages, what runs) is said by implementing :class:`bgtop.contracts.Backend` itself.
"""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, ClassVar

from bgtop.contracts import BackendError, NotPermitted, Unreachable, WatchOnly
from bgtop.model import BackendInfo, Capability, QueueReading, Reading
from bgtop.source_url import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bgtop.contracts import Interest, Settings
    from bgtop.model import WorkerReading


class SimpleBackend(WatchOnly):
    """Subclass it, set ``system`` and ``broker``, and write two to four methods.

    They are called from one thread, in the order in which they stand here, once each poll. Any of
    them may raise a :class:`~bgtop.contracts.BackendError`; an ``OSError`` becomes one.
    """

    system: ClassVar[str]
    """Which job system this is."""

    broker: ClassVar[str]
    """Where its jobs are kept."""

    capabilities: ClassVar[frozenset[Capability]]
    """Follows from the methods that are written: see :meth:`workers`, :meth:`last_completions`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "capabilities" in vars(cls):
            return
        told = {Capability.DEPTH}
        if cls.workers is not SimpleBackend.workers:
            told |= {Capability.WORKERS, Capability.HEARTBEATS}
        if cls.last_completions is not SimpleBackend.last_completions:
            told.add(Capability.LAST_COMPLETED)
        cls.capabilities = frozenset(told)

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self.broker_version: str | None = None
        """Set it once it is known."""
        self._info = BackendInfo(
            system=self.system,
            broker=self.broker,
            url=redacted(url),
            capabilities=self.capabilities,
        )
        self._busy = threading.Lock()
        self._closed = False
        self._round_trips = 0
        self._commands = 0
        self._warnings: list[str] = []

    # What a subclass answers

    def queue_names(self) -> Iterable[str]:
        """Required: the queues there are now, in any order."""
        raise NotImplementedError

    def queue_lengths(self, names: Sequence[str], /) -> Mapping[str, int]:
        """Required: how many jobs of each queue a worker could take now, asked for all at once.

        A queue that is left out is shown without a number, with a warning.
        """
        raise NotImplementedError

    def workers(self) -> Iterable[WorkerReading]:
        """The workers, each with its ``last_heartbeat_at``; declares workers and heartbeats."""
        return ()

    def last_completions(self, names: Sequence[str], /) -> Mapping[str, datetime]:
        """When a job of these queues last ended, where one did; declares the last completed."""
        del names
        return {}

    def disconnect(self) -> None:
        """Free what the other methods opened; the next poll opens it again.

        Called after a failure and at the end, never while another method runs; maybe repeatedly.
        """

    # What a subclass may call

    def asked(self, commands: int = 1) -> None:
        """Tell that a round trip was made, with so many commands; local files need none."""
        self._round_trips += 1
        self._commands += commands

    def warn(self, words: str) -> None:
        """Add a line about what may mislead in the reading under way."""
        self._warnings.append(_one_line(words))

    # The contract

    @property
    def info(self) -> BackendInfo:
        """Which system this is and what it can tell."""
        return self._info

    def poll(self, interest: Interest, /) -> Reading:
        """One look, made of the four answers; raises :class:`~bgtop.contracts.BackendError`."""
        del interest  # there are no internal queues
        try:
            with self._busy:
                try:
                    self._refuse_when_closed()
                    return self._read()
                except Exception as error:
                    self.disconnect()
                    self._refuse_when_closed()
                    if isinstance(error, OSError):
                        raise self._fault(error) from error
                    raise
        finally:
            # A close() that met the lock taken left this to us.
            if self._closed:
                self.close()

    def close(self) -> None:
        """Safe from another thread, twice, and during a poll, which then ends by itself."""
        self._closed = True
        if self._busy.acquire(blocking=False):
            try:
                self.disconnect()
            finally:
                self._busy.release()

    def _read(self) -> Reading:
        self._round_trips = self._commands = 0
        self._warnings = []
        names = sorted(set(self.queue_names()))
        lengths = self.queue_lengths(names)
        workers = sorted(self.workers(), key=lambda worker: worker.name)
        ended = self.last_completions(names)
        for name in names:
            if name not in lengths:
                self.warn(f"the depth of {name!r} is not known")
        return Reading(
            taken_at=datetime.now(timezone.utc),
            queues=tuple(
                QueueReading(
                    name=name, depth=lengths.get(name), last_completed_at=_utc(ended.get(name))
                )
                for name in names
            ),
            workers=tuple(workers),
            broker_version=self.broker_version,
            round_trips=self._round_trips,
            commands=self._commands,
            warnings=tuple(self._warnings),
        )

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Unreachable(_one_line(f"{self._info.url} was closed"))

    def _fault(self, error: OSError) -> BackendError:
        kind = NotPermitted if isinstance(error, PermissionError) else Unreachable
        return kind(_one_line(f"{self._info.url}: {error.strerror or type(error).__name__}"))


def _one_line(words: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment.astimezone(timezone.utc)
