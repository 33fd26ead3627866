"""One thread per source: it polls and carries out actions, one at a time, and tells what came."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from threading import Event, Thread
from typing import Final, NamedTuple, TypeAlias

from bgtop.actions import Action, Performed
from bgtop.contracts import Backend, BackendError, Inspector, Interest
from bgtop.source_url import redacted_in
from bgtop.state.fold import Joined, Polled, PollFailed, Sample
from bgtop.state.pacing import back_off, pause
from bgworker.values import dataclass

PATIENCE: Final = 5.0
"""Seconds a source may be polled faster than asked because its readings are not complete yet."""

_STOPPING: Final = 1.0
"""Seconds to wait for polls in flight; their threads end with the process anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A source that is opened: what it is called here and who reads it.

    ``id`` tells apart what is found at one place. ``newly_found`` gives the sources that the polls
    of this one have found since it was asked last; it is called from the thread that polls.
    ``inspector`` opens who asks its workers; ``None`` where they cannot be asked.
    """

    name: str
    backend: Backend
    id: str | None = None
    newly_found: Callable[[], Sequence[Found]] = tuple
    inspector: Callable[[], Inspector] | None = None

    @property
    def key(self) -> str:
        """What its samples are marked with."""
        return self.name if self.id is None else self.id

    @property
    def joined(self) -> Joined:
        """The news that this source is there."""
        return Joined(source=self.key, name=self.name, info=self.backend.info)


class Found(NamedTuple):
    """A source that another one has found, to be opened by whoever takes it.

    ``open`` gives ``None`` for one that cannot be opened: the source that found it says why.
    """

    open: Callable[[], Feed | None]


News: TypeAlias = Sample | Found | Performed
"""What a sampler delivers: what a poll brought, another source, or what became of an action."""


class Sampler:
    """Polls one source until stopped. ``deliver`` and ``report`` are called from its thread.

    ``report`` gets the traceback of a fault no backend should have; it is a failed poll besides.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        interest: Interest,
        interval: float,
        deliver: Callable[[News], None],
        report: Callable[[str], None],
    ) -> None:
        self._feed = feed
        self._interest = interest
        self._interval = interval
        self._deliver = deliver
        self._report = report
        self._actions: deque[Action] = deque()
        self._attempts = 0
        self._well_since: float | None = None
        self._stopping = Event()
        self._bell = Event()
        # A thread that hangs in a network call must not keep the process alive.
        self._thread = Thread(target=self._run, name=f"poll {feed.name}", daemon=True)

    def start(self) -> None:
        """Begin with a poll at once."""
        self._thread.start()

    def wake(self) -> None:
        """Poll now instead of waiting any longer."""
        self._bell.set()

    def look(self, interest: Interest, *, at_once: bool = True) -> None:
        """Fetch this from the next poll on, and poll now if it is something else than before.

        Without ``at_once`` the next poll comes when it is due.
        """
        if interest != self._interest:
            self._interest = interest
            if at_once:
                self.wake()

    def pace(self, interval: float) -> None:
        """Poll at this interval from the next poll on, which is now."""
        self._interval = interval
        self.wake()

    def perform(self, action: Action) -> None:
        """Carry this out as soon as the poll in flight has ended, then poll again."""
        self._actions.append(action)
        self.wake()

    def stop(self) -> None:
        """No more polls; closing the backend ends one in flight."""
        self._stopping.set()
        self._bell.set()
        self._feed.backend.close()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            while self._actions:
                self._deliver(self.performed(self._actions.popleft()))
            sample, wait = self.poll_once()
            if self._stopping.is_set():
                return
            for found in self._feed.newly_found():
                self._deliver(found)
            self._deliver(sample)
            self._bell.wait(wait)
            self._bell.clear()

    def performed(self, action: Action) -> Performed:
        """What came of an action that is carried out now, by the calling thread."""
        key = self._feed.key
        try:
            outcome = self._feed.backend.perform(action)
        except BackendError as fault:
            words = redacted_in(str(fault) or type(fault).__name__)
            return Performed(source=key, action=action, fault=words, error=fault)
        except (Exception, SystemExit) as fault:  # noqa: BLE001 - a plug-in's fault is its source's
            self._report(_traceback())
            words = f"fault in the backend: {type(fault).__name__}: {fault}"
            return Performed(source=key, action=action, fault=redacted_in(words))
        return Performed(source=key, action=action, outcome=outcome)

    def poll_once(self) -> tuple[Polled | PollFailed, float]:
        """One poll and the seconds to wait after it."""
        began = time.monotonic()
        backend = self._feed.backend
        try:
            reading = backend.poll(self._interest)
            info = backend.info
        except BackendError as fault:
            return self._failed(str(fault) or type(fault).__name__)
        except (Exception, SystemExit) as fault:  # noqa: BLE001 - a plug-in's fault is its source's
            if not self._stopping.is_set():
                self._report(_traceback())
            return self._failed(f"fault in the backend: {type(fault).__name__}: {fault}")
        now = time.monotonic()
        self._attempts = 0
        if self._well_since is None:
            self._well_since = now
        complete = reading.complete or now - self._well_since > PATIENCE
        sample = Polled(
            source=self._feed.key,
            info=info,
            reading=reading,
            clock=now,
            poll_seconds=now - began,
        )
        return sample, pause(self._interval, now - began, complete=complete)

    def _failed(self, message: str) -> tuple[PollFailed, float]:
        self._attempts += 1
        self._well_since = None
        wait = back_off(self._attempts, _chance())
        at = datetime.now(timezone.utc)
        sample = PollFailed(
            source=self._feed.key,
            at=at,
            # Backends keep passwords out of their words; one that forgets must not tell it here.
            message=redacted_in(message),
            retry_at=at + timedelta(seconds=wait),
            attempts=self._attempts,
        )
        return sample, wait


def stop_all(samplers: Sequence[Sampler]) -> None:
    """Stop them together: one that hangs costs a second, ten that hang cost no more."""
    deadline = time.monotonic() + _STOPPING
    for sampler in samplers:
        sampler.stop()
    for sampler in samplers:
        sampler.join(max(0.0, deadline - time.monotonic()))


def _chance() -> float:
    """A number from [0, 1); ``random`` would be one more import for it."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def _traceback() -> str:
    from traceback import format_exc

    return format_exc()
