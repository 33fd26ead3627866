"""The loop behind the server: one thread learns what the samplers read, and asks for looks.

No request ever reads a source. What is not part of every poll (single jobs, figures by task,
schedules, a checkup) is asked for by a look; equal looks of many people are one, an answer is kept
for as long as a reading is, and a source answers few of them a second, whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from bgtop.actions import Performed
from bgtop.sampler import Feed, Found, News, Sampler, stop_all
from bgtop.session import first_knowledge, frame_of
from bgtop.state.fold import Polled, PollFailed
from bgtop.state.knowledge import learn
from bgtop.web.looks import Answer, Look, answer_in, interest_for
from bgworker.values import dataclass, field, replace

if TYPE_CHECKING:
    from bgtop.actions import Action
    from bgtop.config import Config
    from bgtop.contracts import Inspector, Interest
    from bgtop.model import Frame, Source
    from bgtop.web.seen import Seen

_BREATH: Final = 0.1
"""Seconds within which news of several sources become one frame."""

_GAP: Final = 0.1
"""Seconds between two polls that are made for looks."""

_MOST_WAITING: Final = 64
"""Looks that wait for one source; more are not answered."""

_MOST_ANSWERS: Final = 64
_LOOKED_BACK: Final = 6
"""Frames that are kept while somebody looks for what grows."""

Done: TypeAlias = Callable[[], None]


@dataclass(slots=True)
class _Desk:
    """A source: who polls it, and what is asked of it."""

    sampler: Sampler
    interest: Interest
    waiting: dict[Look, list[Done]] = field(default_factory=dict)
    asked: dict[Look, int] = field(default_factory=dict)
    """Looks of the interest, and how many readings have come since."""
    held: dict[Look, int] = field(default_factory=dict)
    """Looks that go with every poll, and how many want them."""
    next_at: float = 0.0
    performing: list[tuple[Action, Callable[[Performed], None]]] = field(default_factory=list)


class Live:
    """Everything that is known, kept up to date for any number of browsers.

    ``report`` gets tracebacks, ``seen`` what events tell of single jobs. All public methods may be
    called from any thread; callbacks are called from the thread of the loop and must not wait.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        config: Config,
        *,
        report: Callable[[str], None],
        seen: Seen | None = None,
    ) -> None:
        self._config, self._report, self.seen = config, report, seen
        self._usual = replace(config.interest, told=seen is not None)
        self._known = first_knowledge(feeds)
        self.frame: Frame = frame_of(self._known, config, trends=True)
        self.answers: dict[Look, Answer] = {}
        self._inbox: SimpleQueue[News | Callable[[], None] | None] = SimpleQueue()
        self._desks: dict[str, _Desk] = {}
        self.inspectors: dict[str, Callable[[], Inspector]] = {}
        """What opens who asks the workers of a source, by its key, where they can be asked."""
        self._listeners: list[Callable[[], None]] = []
        self._changed = False
        self._told_at = 0.0
        self._frames_before: tuple[Frame, ...] = ()
        for feed in feeds:
            self._open(feed)
        self._thread = Thread(target=self._run, name="live", daemon=True)

    @property
    def redact(self) -> str:
        """What is hidden: the setting."""
        return self._config.redact

    @property
    def interval(self) -> float:
        """Seconds between two readings of a source."""
        return self._config.refresh_interval

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def close(self) -> None:
        """No more polls."""
        self._inbox.put(None)
        if self._thread.ident is not None:  # else nobody could be listened to, and it never began
            self._thread.join(5)
        stop_all([desk.sampler for desk in self._desks.values()])

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this whenever there is another frame, or another answer."""
        self._listeners.append(listener)

    def look(self, looks: Iterable[Look], done: Done) -> None:
        """Ask for these, and call ``done`` when all are answered, or will not be."""
        wanted = list(looks)
        self._inbox.put(lambda: self._ask(wanted, done))

    def hold(self, looks: Iterable[Look], by: int) -> None:
        """From now on (1), or no longer (-1), let every poll answer these."""
        wanted = list(looks)
        self._inbox.put(lambda: self._hold(wanted, by))

    def perform(self, source: str, action: Action, done: Callable[[Performed], None]) -> None:
        """Do this at the source of this key."""
        self._inbox.put(lambda: self._perform(source, action, done))

    def is_fresh(self, look: Look) -> bool:
        """Whether an answer is as new as a reading may be."""
        answer = self.answers.get(look)
        return answer is not None and time.monotonic() - answer.clock < self.interval

    def _run(self) -> None:
        while True:
            try:
                news = self._inbox.get(timeout=self._patience())
            except Empty:
                news = Nothing
            if news is None:
                return
            try:
                self._take(news)
            except Exception:  # noqa: BLE001 - the loop must outlive what it does not understand
                from traceback import format_exc

                self._report(format_exc())
            self._tell()

    def _patience(self) -> float | None:
        now = time.monotonic()
        due = [desk.next_at for desk in self._desks.values() if desk.waiting and not desk.asked]
        if self._changed:
            due.append(self._told_at + _BREATH)
        return max(0.0, min(due) - now) if due else None

    def _take(self, news: News | Callable[[], None]) -> None:
        match news:
            case Performed():
                self._performed(news)
            case Found():
                self._found(news)
            case Polled() | PollFailed():
                news = self._without_told(news)
                self._known = learn(self._known, news, self._config.selection)
                self._changed = True
                self._answered(news)
            case _ if callable(news):
                news()
        for key, desk in self._desks.items():
            self._aim(key, desk)

    def _without_told(self, news: Polled | PollFailed) -> Polled | PollFailed:
        """The news without what is kept apart: a frame would hold it for as long as it is shown."""
        if isinstance(news, PollFailed) or news.reading.told is None:
            return news
        if self.seen is not None:
            self.seen.hear(news.source, news.reading.told)
        return replace(news, reading=replace(news.reading, told=None))

    def _tell(self) -> None:
        now = time.monotonic()
        if not self._changed or now < self._told_at + _BREATH:
            return
        self._changed, self._told_at = False, now
        last = replace(self.frame, earlier=())
        frame = frame_of(self._known, self._config, trends=True)
        if any(look.part == "checkup" for desk in self._desks.values() for look in desk.held):
            self._frames_before = (*self._frames_before, last)[-_LOOKED_BACK:]
            frame = replace(frame, earlier=self._frames_before)
        else:
            self._frames_before = ()
        self.frame = frame
        for listener in self._listeners:
            listener()

    def _open(self, feed: Feed) -> _Desk:
        sampler = Sampler(
            feed,
            interest=self._usual,
            interval=self._config.refresh_interval,
            deliver=self._inbox.put,
            report=self._report,
        )
        self._inbox.put(sampler.start)
        if feed.inspector is not None:
            self.inspectors[feed.key] = feed.inspector
        desk = self._desks[feed.key] = _Desk(sampler, self._usual)
        return desk

    def _found(self, found: Found) -> None:
        feed = found.open()
        if feed is not None:
            self._known = learn(self._known, feed.joined, self._config.selection)
            self._open(feed)

    def _source(self, key: str) -> Source | None:
        return next((s for s in self._known.snapshot.sources if s.key == key), None)

    def _ask(self, looks: Sequence[Look], done: Done) -> None:
        left = {look for look in looks if not self.is_fresh(look)}

        def one_less(look: Look) -> None:
            left.discard(look)
            if not left:
                done()

        if not left:
            done()
        for look in list(left):
            desk, source = self._desks.get(look.source), self._source(look.source)
            hopeless = source is None or source.failure is not None or desk is None
            if hopeless or desk is None or len(desk.waiting) >= _MOST_WAITING:
                one_less(look)
            else:
                desk.waiting.setdefault(look, []).append(lambda look=look: one_less(look))  # type: ignore[misc]

    def _hold(self, looks: Sequence[Look], by: int) -> None:
        for look in looks:
            desk = self._desks.get(look.source)
            if desk is None:
                continue
            count = desk.held.get(look, 0) + by
            if count > 0:
                desk.held[look] = count
            else:
                desk.held.pop(look, None)

    def _aim(self, key: str, desk: _Desk) -> None:
        """Let the next poll answer what is waited for; if nothing is, what is held."""
        source = self._source(key)
        if desk.asked or source is None or source.failure is not None:
            return  # one that is down is tried when its sampler thinks it is time
        due = [look for look in desk.held if not self._soon_fresh(look)]
        for look in due:
            desk.waiting.setdefault(look, [])
        now = time.monotonic()
        if desk.waiting and now < desk.next_at:
            return
        chosen = interest_for(self._usual, desk.waiting or self._by_age(desk), desk.held)
        if desk.waiting:
            desk.next_at = now + _GAP
            desk.asked = dict.fromkeys([look for look in desk.waiting if look in chosen.looks], 0)
        if chosen.interest != desk.interest:
            desk.interest = chosen.interest
            desk.sampler.look(chosen.interest, at_once=bool(desk.waiting))
        elif desk.waiting:
            desk.sampler.wake()

    def _soon_fresh(self, look: Look) -> bool:
        """Whether an answer will still do when the next poll is due."""
        answer = self.answers.get(look)
        limit = max(1.5 * self.interval, self.interval + 1.0)
        return answer is not None and time.monotonic() - answer.clock < limit

    def _by_age(self, desk: _Desk) -> list[Look]:
        """What is held, the oldest answers first."""
        never = Answer(0.0)
        return sorted(desk.held, key=lambda look: self.answers.get(look, never).clock)

    def _answered(self, news: Polled | PollFailed) -> None:
        desk = self._desks.get(news.source)
        source = self._source(news.source)
        if desk is None or source is None:
            return
        if isinstance(news, PollFailed) or source.reading is None:
            desk.asked.clear()
            for look in list(desk.waiting):
                self._settle(desk, look)
            return
        for look in list({**desk.asked, **desk.held}):
            answer = answer_in(source.reading, look, time.monotonic())
            asked = desk.asked.get(look)
            # A reading that was under way when it was asked for cannot answer it; the next can.
            if answer is not None and not (look.part == "checkup" and asked == 0):
                self._keep(look, answer)
                self._settle(desk, look)
            elif asked is not None and asked >= 1:
                self._keep(look, Answer(time.monotonic()))
                self._settle(desk, look)
            elif asked is not None:
                desk.asked[look] = asked + 1
                desk.sampler.wake()

    def _keep(self, look: Look, answer: Answer) -> None:
        self.answers.pop(look, None)
        kept = {**self.answers, look: answer}
        if len(kept) > _MOST_ANSWERS:
            kept.pop(next(iter(kept)))
        self.answers = kept  # replaced as a whole: other threads read it
        self._changed = True

    def _settle(self, desk: _Desk, look: Look) -> None:
        desk.asked.pop(look, None)
        for done in desk.waiting.pop(look, ()):
            done()

    def _perform(self, source: str, action: Action, done: Callable[[Performed], None]) -> None:
        desk = self._desks.get(source)
        if desk is None:
            done(Performed(source=source, action=action, fault="this source is gone"))
            return
        desk.performing.append((action, done))
        desk.sampler.perform(action)

    def _performed(self, performed: Performed) -> None:
        desk = self._desks[performed.source]
        for at, (action, done) in enumerate(desk.performing):
            if action is performed.action:
                del desk.performing[at]
                # What was read before no longer holds.
                kept = {k: v for k, v in self.answers.items() if k.source != performed.source}
                self.answers = kept
                done(performed)
                return


def Nothing() -> None:  # noqa: N802 - a value, which happens to be callable
    """What there is to do when nothing has come: nothing."""
