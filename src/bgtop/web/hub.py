"""Between the loop and the requests: frames for whoever asks, and one message for all who watch.

Everything here runs in the thread of the server. People who watch the same page with the same
rights share a topic: its model is made, compared and encoded once for a frame.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bgtop.view.pages import page_named
from bgtop.web.asking import Asking
from bgtop.web.grants import narrowed
from bgtop.web.looks import Look, looks_of, with_answers
from bgtop.web.models import Model, difference, model_of
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from bgtop.actions import Action, Performed
    from bgtop.contracts import Interest
    from bgtop.model import Frame
    from bgtop.view.ui import Ui
    from bgtop.web.grants import Grant, Person
    from bgtop.web.live import Live
    from bgtop.web.seen import Seen

PATIENCE: Final = 4.0
"""Seconds a request waits for an answer before it is told that there is none yet."""

_LIFETIME: Final = 600.0
"""Seconds after which a stream ends, and the browser comes again with its credentials."""

_HEARTBEAT: Final = 15.0
_AT_ONCE: Final = 8
_PAUSE: Final = 0.004
"""Streams that are written to without a pause, and the pause."""

_MOST_ENCODED: Final = 256

_Made = TypeVar("_Made")


@dataclass(slots=True)
class Topic:
    """A page as somebody may see it, while at least one browser shows it."""

    ui: Ui
    person: Person
    looks: frozenset[Look] = frozenset()
    watchers: int = 0
    version: int = 0
    model: Model | None = None
    delta: bytes = b""
    full: bytes = b""
    waiting: dict[asyncio.Event, None] = field(default_factory=dict)
    """Who waits for the next change, in turn."""


class Hub:
    """The one place requests ask; ``control`` is whether anybody may change anything here."""

    def __init__(self, live: Live, usual: Interest, *, control: bool) -> None:
        self._live, self.usual, self.control = live, usual, control
        self.asking = Asking(live.inspectors, live.redact)
        self._topics: dict[Hashable, Topic] = {}
        self._views: dict[Hashable, Frame] = {}
        self._encoded: dict[Hashable, bytes] = {}
        self._seen: tuple[object, object] = (None, None)
        self._refreshed_at = 0.0
        self._waking: set[asyncio.Future[None]] = set()
        self._turn = asyncio.Semaphore(1)
        self.closing = False

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return sum(topic.watchers for topic in self._topics.values())

    @property
    def interval(self) -> float:
        """Seconds between two readings."""
        return self._live.interval

    @property
    def seen(self) -> Seen | None:
        """What events told of single jobs, where they are followed all the time."""
        return self._live.seen

    @property
    def frame(self) -> Frame:
        """What is known, whole."""
        return self._live.frame

    async def run(self) -> None:
        """Pass frames on until cancelled; ages grow also without news."""
        loop = asyncio.get_running_loop()
        self._live.listen(lambda: _soon(loop, self.refresh))
        while True:
            await asyncio.sleep(self.interval)
            if time.monotonic() - self._refreshed_at > 1.5 * self.interval:
                self.refresh()

    def close(self) -> None:
        """Let all streams end."""
        self.closing = True
        self.asking.close()
        for topic in self._topics.values():
            for waiter in topic.waiting:
                waiter.set()

    def refresh(self) -> None:
        """Tell everybody who watches what has changed."""
        self._refreshed_at = time.monotonic()
        for topic in list(self._topics.values()):
            self._hold(topic)
            self._update(topic)

    def view(self, looks: Iterable[Look], grant: Grant) -> Frame:
        """The newest frame with these looks in it, as far as a grant goes."""
        self._forget_if_older()
        key = frozenset(looks), grant
        if key not in self._views:
            whole = with_answers(self._live.frame, key[0], self._live.answers)
            self._views[key] = narrowed(whole, grant)
        return self._views[key]

    def encoded(self, key: Hashable, make: Callable[[], Any]) -> bytes:
        """The JSON of something that follows from the newest frame and the key alone."""
        self._forget_if_older()
        if key not in self._encoded:
            if len(self._encoded) >= _MOST_ENCODED:
                self._encoded.clear()
            self._encoded[key] = encode(make())
        return self._encoded[key]

    async def apart(self, make: Callable[[], _Made]) -> _Made:
        """What takes a while to make, in another thread: others are answered meanwhile.

        However many ask for such things, they take one processor.
        """
        async with self._turn:
            return await asyncio.to_thread(make)

    def _forget_if_older(self) -> None:
        seen = self._live.frame, self._live.answers
        if seen[0] is not self._seen[0] or seen[1] is not self._seen[1]:
            self._seen = seen
            self._views.clear()
            self._encoded.clear()

    async def looked(self, looks: Iterable[Look]) -> None:
        """Wait for answers, for a while; those that are fresh need none."""
        wanted = [look for look in looks if not self._live.is_fresh(look)]
        if not wanted:
            return
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        self._live.look(wanted, lambda: _soon(loop, answered.set))
        try:
            await asyncio.wait_for(answered.wait(), PATIENCE)
        except asyncio.TimeoutError:
            return  # the page says what is still being read

    async def perform(
        self, source: str, action: Action, note: Callable[[Performed], None], patience: float
    ) -> Performed | None:
        """Do this; ``note`` is told even if nobody waits any more. ``None``: no answer yet."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Performed] = loop.create_future()

        def done(performed: Performed) -> None:
            note(performed)
            _soon(loop, self.asking.forget_freshness)
            _soon(loop, lambda: None if answer.done() else answer.set_result(performed))

        self._live.perform(source, action, done)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), patience)
        except asyncio.TimeoutError:
            return None

    def looks_for(self, ui: Ui) -> frozenset[Look]:
        """What a page needs beyond what every poll reads."""
        spec = page_named(ui.visit.page)
        return frozenset(
            look
            for source in self._live.frame.snapshot.sources
            for look in looks_of(
                source, spec.interest(ui.visit, source.key, self.usual), self.usual
            )
        )

    async def page(self, ui: Ui, person: Person) -> Model:
        """What a page shows now."""
        looks = self.looks_for(ui)
        await self.looked(looks)
        return self._model(ui, person, looks)

    def _model(self, ui: Ui, person: Person, looks: frozenset[Look]) -> Model:
        now = datetime.now(timezone.utc)
        frame = self.view(looks, person.grant)
        return model_of(frame, ui, now, person, control=self.control)

    async def stream(
        self, key: Hashable, ui: Ui, person: Person, is_welcome: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """Server-sent events: the page as it is, then what changes."""
        topic = self._join((key, person.grant, person.known), ui, person)
        try:
            yield b"retry: 1000\n\n"
            yield topic.full or self._full(topic)
            seen, began = topic.version, time.monotonic()
            while not self.closing and time.monotonic() - began < _LIFETIME and is_welcome():
                if topic.version == seen and not await _changed(topic):
                    yield b":\n\n"
                    continue
                if topic.version == seen + 1:
                    yield topic.delta
                elif topic.version != seen:  # too slow for what came between
                    yield topic.full or self._full(topic)
                seen = topic.version
        finally:
            self._leave((key, person.grant, person.known), topic)

    def _join(self, key: Hashable, ui: Ui, person: Person) -> Topic:
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = Topic(ui, person)
            self._hold(topic)
            self._update(topic)
        topic.watchers += 1
        return topic

    def _leave(self, key: Hashable, topic: Topic) -> None:
        topic.watchers -= 1
        if topic.watchers == 0:
            self._live.hold(topic.looks, -1)
            self._topics.pop(key, None)

    def _hold(self, topic: Topic) -> None:
        looks = self.looks_for(topic.ui)
        if looks != topic.looks:
            self._live.hold(looks - topic.looks, 1)
            self._live.hold(topic.looks - looks, -1)
            topic.looks = looks

    def _update(self, topic: Topic) -> None:
        model = self._model(topic.ui, topic.person, topic.looks)
        changes = model if topic.model is None else difference(topic.model, model)
        if not changes:
            return
        topic.model = model
        topic.version += 1
        topic.delta, topic.full = _event("change", topic.version, changes), b""
        self._waking = {task for task in self._waking if not task.done()}
        if topic.waiting:
            self._waking.add(asyncio.ensure_future(_wake(topic)))

    def _full(self, topic: Topic) -> bytes:
        topic.full = _event("page", topic.version, topic.model)
        return topic.full


async def _changed(topic: Topic) -> bool:
    """Wait for a change; ``False`` if it is time for a sign of life instead."""
    waiter = asyncio.Event()
    topic.waiting[waiter] = None
    try:
        await asyncio.wait_for(waiter.wait(), _HEARTBEAT)
    except asyncio.TimeoutError:
        return False
    finally:
        topic.waiting.pop(waiter, None)
    return True


async def _wake(topic: Topic) -> None:
    """Wake a few at a time: whoever asks for something else is answered in between."""
    for number, waiter in enumerate(list(topic.waiting)):
        waiter.set()
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(_PAUSE)


def encode(value: Any) -> bytes:
    """Compact JSON; what is no Unicode becomes an escape."""
    return json.dumps(value, separators=(",", ":")).encode()


def _event(name: str, version: int, data: Any) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), version, encode(data))


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # the server has ended meanwhile
        return
