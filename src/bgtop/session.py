"""The live session: one loop owns all state; samples, keys and seconds pass through it in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from bgtop.actions import Performed
from bgtop.backlog import Backlog
from bgtop.config import Config, ConfigError
from bgtop.contracts import Renderer
from bgtop.model import Alert, Frame, Snapshot, Source
from bgtop.page import Status, Tone
from bgtop.sampler import Feed, Found, News, Sampler, stop_all
from bgtop.state.knowledge import Knowledge, learn, learning
from bgtop.state.places import places_of
from bgtop.state.steps import Steps
from bgtop.view.pages import DIAGNOSIS, interest_of, page_of, preparing
from bgtop.view.text import clean
from bgtop.view.ui import Copy, Effect, Pace, Perform, Quit, Ui
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.alarms import Watchman
    from bgtop.history_file import HistoryFile
    from bgtop.state.fold import Sample

_TICK: Final = 1.1
"""Ages are shown in whole seconds: without news the screen is redrawn about once a second.

A little later than the news of a source that is read each second, which would else find the screen
redrawn a moment before them."""

_LONG_DRAWING: Final = 0.3
"""Seconds for a picture that are worth a word: keys wait as long."""

_LOOKED_BACK: Final = 6
"""Frames that are kept while the findings are shown: some of them are about what grows."""

_STRIDE: Final = 0.002
"""Seconds of steps between two looks for a key: with few queues the looks would take longer."""

_BREATH: Final = 0.1
"""News of several sources that arrive within this time are drawn together."""


def now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(timezone.utc)


def first_knowledge(feeds: Sequence[Feed]) -> Knowledge:
    """What is known before the first poll: which sources there are."""
    sources = tuple(Source(name=feed.name, id=feed.id, info=feed.backend.info) for feed in feeds)
    return Knowledge(snapshot=Snapshot(taken_at=now(), sources=sources))


def frame_of(known: Knowledge, config: Config, *, trends: bool = False) -> Frame:
    """What is known, as everything that shows it takes it; ``trends`` are for pictures."""
    places = places_of(known.snapshot)
    return Frame(
        snapshot=replace(known.snapshot, sources=places.shown),
        searches=places.searches,
        rates=known.rates,
        source_rates=known.source_rates,
        task_rates=known.task_rates,
        max_queues=config.max_queues,
        max_workers=config.max_workers,
        trends=known.trends if trends else None,
    )


def sorted_by(ui: Ui, column: str | None) -> Ui:
    """The screen with its first table in this order.

    Raises :class:`bgtop.config.ConfigError` for a column that is none.
    """
    if column is None:
        return ui
    from bgtop.view.order import BadColumn, ordered

    try:
        return ordered(ui, column)
    except BadColumn as fault:
        raise ConfigError(f"--sort: {fault}") from None


class Session:
    """Shows feeds on a renderer until the user quits or a signal ends it.

    ``permit`` is asked before something is done and says why it may not be; ``audit`` is told
    what became of it. ``history`` opens what is kept from one session to the next.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        renderer: Renderer,
        config: Config,
        *,
        report: Callable[[str], None],
        permit: Callable[[], str | None] = lambda: None,
        audit: Callable[[Performed], None] = lambda _performed: None,
        history: Callable[[], HistoryFile] | None = None,
        detail: bool = False,
    ) -> None:
        self._config = config
        self._renderer = renderer
        self._inbox = Backlog()
        self._known = first_knowledge(feeds)
        self._frame = frame_of(self._known, config, trends=True)
        self._interval = config.refresh_interval
        ui = Ui(
            size=renderer.size, interval=self._interval, read_only=config.read_only, detail=detail
        )
        self._ui = sorted_by(ui, config.sort)
        self._alerts: tuple[Alert, ...] = ()
        self._stood_still_at: datetime | None = None
        self._asked = 0
        self._performed: list[Performed] = []
        self._frames_before: tuple[Frame, ...] = ()
        self._over = False
        self._news = False
        self._steps: Steps[None] | None = None
        self._drawn_at = self._news_drawn_at = 0.0
        self._report = report
        self._watchman = self._hired()
        self._permit = permit
        self._audit = audit
        self._open_history = history
        self._history: HistoryFile | None = None
        self._resumed = False
        self._samplers = {feed.key: self._sampler(feed) for feed in feeds}

    def _sampler(self, feed: Feed) -> Sampler:
        return Sampler(
            feed,
            interest=interest_of(self._ui, feed.key, self._config.interest),
            interval=self._interval,
            deliver=self._deliver,
            report=self._report,
        )

    def _deliver(self, news: News) -> None:
        """The only method other threads call."""
        self._inbox.append(news)
        self._renderer.wake()

    def run(self) -> None:
        """Return when the user quits; raises :class:`bgtop.contracts.Interrupted`.

        However it ends, the terminal is given back before anything else is waited for.
        """
        try:
            for sampler in self._samplers.values():
                sampler.start()
            self._draw()
            if self._open_history is not None:  # after the first picture: reading it takes a while
                self._history = self._open_history()
                self._history.start(self._renderer.wake)
            while not self._over:
                self._turn(self._renderer.next_key(self._seconds_to_wait()))
        finally:
            self._renderer.close()
            stop_all(list(self._samplers.values()))
            if self._history is not None:
                self._history.close()

    def _turn(self, key: str | None) -> None:
        """The keys first, on the picture they were pressed at; then steps towards the next one.

        A large reading takes a while to be learned and to be shown: keys are asked for in between.
        """
        pressed = key is not None
        while key is not None:
            self._press(key)
            if self._over:
                return
            key = self._renderer.next_key(0)
        if pressed:
            self._draw()
            self._look()
        if not self._learn() and self._seconds_to_wait() <= 0:
            self._draw()

    def _learn(self) -> bool:
        """Go on from a piece of news to what shows it; whether there was anything to do."""
        if self._steps is None:
            if not self._inbox or not self._has_begun():
                return False
            self._steps = self._learning(self._inbox.popleft())
        until = time.monotonic() + _STRIDE
        try:
            next(self._steps)
            while time.monotonic() < until:
                next(self._steps)
        except StopIteration:
            self._steps = None
        return True

    def _learning(self, news: News) -> Steps[None]:
        """Learn one piece of news, and show what is known after the last."""
        match news:
            case Performed():
                # The next reading, which follows at once, shows what has changed.
                self._audit(news)
                self._tell(news)
            case Found():
                self._take_in(news)
            case _:
                yield from self._hearing(news)
        if not self._inbox:
            yield from self._publishing()

    def _publishing(self) -> Steps[None]:
        if self._watchman is not None:  # also while the picture stands still
            self._alerts = self._watchman.look(frame_of(self._known, self._config))
            yield
        if not self._ui.paused:
            frame = self._next_frame()
            # Keys are answered on the last picture until everything of this one is there.
            yield from preparing(frame, self._ui)
            if not self._ui.paused:
                self._show_frame(frame)
        self._news = True

    def _has_begun(self) -> bool:
        """Whether what is kept from the last session was read, or nothing is."""
        if self._resumed or self._open_history is None:
            return True
        if self._history is None or not self._history.is_read:
            return False
        self._known = self._history.resumed(self._known, now(), time.monotonic())
        self._resumed = True
        return True

    def _hearing(self, sample: Sample) -> Steps[None]:
        self._known = yield from learning(self._known, sample, self._config.selection)
        if self._history is not None:
            self._history.hear(sample, self._known, now())
            if self._history.trouble is not None:
                words = clean(self._history.trouble, 500)
                self._ui = replace(self._ui, notice=Status("NOTE", Tone.WARN, words))
                self._history = None
        yield

    def _hired(self) -> Watchman | None:
        """Who holds what is known against the rules, if there are any."""
        if self._config.alerts is None:
            return None
        from bgtop.alarms import Watchman

        ring = getattr(self._renderer, "beep", lambda: None)
        return Watchman(self._config.alerts, ring, self._report)

    def _show_what_is_known(self) -> None:
        self._show_frame(self._next_frame())

    def _next_frame(self) -> Frame:
        frame = replace(frame_of(self._known, self._config, trends=True), alerts=self._alerts)
        if self._ui.visit.page != DIAGNOSIS:
            return frame
        last = replace(self._frame, earlier=())
        return replace(frame, earlier=(*self._frames_before, last)[-_LOOKED_BACK:])

    def _show_frame(self, frame: Frame) -> None:
        from bgtop.view.keys import follow  # after the first picture is drawn

        self._frame, self._frames_before = frame, frame.earlier
        self._ui = follow(self._ui, frame)

    def _take_in(self, found: Found) -> None:
        feed = found.open()
        if feed is not None:
            self._known = learn(self._known, feed.joined, self._config.selection)
            self._samplers[feed.key] = self._sampler(feed)
            self._samplers[feed.key].start()

    def _press(self, key: str) -> None:
        if self._ui.editing is None and self._ui.asking is None:
            key = self._config.keys.get(key, key)
        if not key:
            return
        from bgtop.view.keys import follow, reduce

        if self._ui.size != self._renderer.size:
            self._ui = follow(replace(self._ui, size=self._renderer.size), self._frame)
        was_paused = self._ui.paused
        self._ui, effects = reduce(self._ui, key, self._frame)
        if self._ui.paused != was_paused:
            self._stood_still_at = now() if self._ui.paused else None
            self._show_what_is_known()
        performing = [effect for effect in effects if isinstance(effect, Perform)]
        if performing:
            self._asked, self._performed = len(performing), []
        for effect in effects:
            self._carry_out(effect)

    def _look(self) -> None:
        """Have fetched what is shown now; a poll before the answer would take its time from it."""
        for source, sampler in self._samplers.items():
            sampler.look(interest_of(self._ui, source, self._config.interest))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Quit():
                self._over = True
            case Pace(interval):
                self._interval = interval
                for sampler in self._samplers.values():
                    sampler.pace(interval)
            case Copy(text):
                copy = getattr(self._renderer, "copy", None)
                if copy is not None:
                    copy(text)
            case Perform(source, action):
                reason = "read-only" if self._ui.read_only else self._permit()
                if reason is not None:
                    self._tell(Performed(source=source, action=action, fault=reason))
                elif source in self._samplers:
                    self._samplers[source].perform(action)

    def _tell(self, performed: Performed) -> None:
        from bgtop.view.outcomes import outcomes_of

        self._performed.append(performed)
        self._ui = replace(self._ui, notice=outcomes_of(self._performed, self._asked))

    def _moment(self) -> datetime:
        """The time that what is shown is as old as."""
        return self._stood_still_at or now()

    def _seconds_to_wait(self) -> float:
        """Until the screen has to be drawn although no key was pressed."""
        if self._steps is not None or (self._inbox and self._has_begun()):
            return 0.0
        due = self._drawn_at + _TICK
        if self._news:
            due = min(due, self._news_drawn_at + _BREATH)
        return max(0.0, due - time.monotonic())

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        if self._news:
            self._news_drawn_at = self._drawn_at
            self._news = False
        page = page_of(self._frame, self._ui, self._moment())
        began = time.monotonic()
        self._renderer.draw(page)
        took = time.monotonic() - began
        self._ui = replace(self._ui, drawing_seconds=took if took > _LONG_DRAWING else 0.0)
