"""A recording in the live screen: the same loop, with the recording's clock in place of ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from bgtop.playback import Heard
from bgtop.session import Session, frame_of
from bgtop.view.ui import Effect, Replay, Seek
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.config import Config
    from bgtop.contracts import Renderer
    from bgtop.model import Alert
    from bgtop.playback import Playback

_FASTEST: Final = 0.1
_SLOWEST: Final = 0.25
"""Seconds between two pictures: often enough that a sample is drawn as soon as it came."""

_STEP: Final = timedelta(seconds=1)


class Hindsight:
    """Which of the user's rules were broken by what was recorded, sample by sample.

    Going back it begins anew with the keyframe before, so what follows from earlier minutes
    (failures, workers that are gone) follows from those since then.
    """

    def __init__(self, config: Config) -> None:
        from bgtop.state.alerts import Memory

        self._config, self._memory = config, Memory()
        self._clock: float | None = None
        self._alerts: tuple[Alert, ...] = ()

    def follow(self, playback: Playback, at: datetime) -> tuple[Alert, ...]:
        """Let the recording go to this moment: the rules that are broken then."""
        moment = self._from(at)
        # In steps, so that it hears what lies between keyframes, which it would jump to.
        while moment < at:
            self._hear(playback, moment)
            moment += _STEP
        self._hear(playback, at)
        return self._alerts

    def _from(self, at: datetime) -> datetime:
        """Where to go on: nothing follows from what is longer ago."""
        from bgtop.state.alerts import GONE_FOR

        if self._clock is None or at.timestamp() < self._clock:
            return at
        last = datetime.fromtimestamp(self._clock, timezone.utc)
        return max(last, at - timedelta(seconds=GONE_FOR))

    def _hear(self, playback: Playback, at: datetime) -> None:
        for heard in playback.play(at):
            self._alerts = self._look(heard)
        if self._clock is None:  # nothing was heard on the way, but for what it began with
            self._alerts = self._look(Heard(at, None, playback.known))

    def _look(self, heard: Heard) -> tuple[Alert, ...]:
        """The rules that were broken after this."""
        from bgtop.state.alerts import Memory, Rules, alerts_of

        clock = heard.at.timestamp()
        if self._clock is not None and clock < self._clock:
            self._memory = Memory()
        self._clock = clock
        rules = self._config.alerts or Rules()
        frame = frame_of(heard.known, self._config)
        alerts, self._memory = alerts_of(rules, frame, self._memory, clock)
        return alerts


def alerts_at(playback: Playback, at: datetime, config: Config) -> tuple[Alert, ...]:
    """What the live view would have told at this moment, to which the recording goes."""
    from bgtop.state.alerts import GONE_FOR

    hindsight = Hindsight(config)
    hindsight.follow(playback, max(playback.begin, at - timedelta(seconds=GONE_FOR)))
    return hindsight.follow(playback, at)


class ReplaySession(Session):
    """Shows what was recorded. No source is opened, so nothing can be asked or done."""

    def __init__(
        self,
        playback: Playback,
        renderer: Renderer,
        config: Config,
        *,
        at: datetime,
        speed: float,
        report: Callable[[str], None],
    ) -> None:
        # Nothing happens now: nobody is rung for it, and no command is run.
        self._hindsight = Hindsight(config) if config.alerts else None
        config = replace(config, alerts=None)
        super().__init__((), renderer, config, report=report)
        self._playback = playback
        self._at = at
        self._since = time.monotonic()
        self._span = (playback.begin, playback.end)
        self._ui = replace(self._ui, replay=self._position(speed))
        self._go()
        self._show(True)

    @property
    def _speed(self) -> float:
        return self._ui.replay.speed if self._ui.replay else 1.0

    def _position(self, speed: float) -> Replay:
        begin, end = self._span
        return Replay(self._at.astimezone(), begin.astimezone(), end.astimezone(), speed)

    def _pass(self) -> None:
        """Let the recording's clock go on as ours did since it was asked last."""
        now = time.monotonic()
        passed, self._since = now - self._since, now
        if self._ui.paused:
            return
        at = self._at + timedelta(seconds=passed * self._speed)
        if at >= self._span[1]:
            # It may still be written.
            self._span = (self._playback.begin, self._playback.end)
        self._at = min(at, self._span[1])

    def _learn(self) -> bool:
        self._pass()
        before = self._playback.known
        self._go()
        self._show(self._playback.known is not before)
        return False

    def _go(self) -> None:
        """To the recording's moment; what was heard on the way may have broken rules."""
        if self._hindsight is None:
            self._playback.seek(self._at)
        else:
            self._alerts = self._hindsight.follow(self._playback, self._at)

    def _show(self, changed: bool) -> None:
        self._ui = replace(self._ui, interval=self._playback.interval)
        if changed:
            self._known = self._playback.known
            self._news = True
            self._show_what_is_known()

    def _press(self, key: str) -> None:
        self._pass()
        super()._press(key)
        # The picture stands still because its clock does, not because it is kept from the news.
        self._stood_still_at = None

    def _carry_out(self, effect: Effect) -> None:
        if not isinstance(effect, Seek):
            super()._carry_out(effect)
            return
        begin, end = self._span = (self._playback.begin, self._playback.end)
        if effect.seconds < begin.timestamp() - self._at.timestamp():
            self._at = begin
        elif effect.seconds > end.timestamp() - self._at.timestamp():
            self._at = end
        else:
            self._at += timedelta(seconds=effect.seconds)
        self._frames_before = ()
        self._learn()

    def _moment(self) -> datetime:
        return self._at

    def _seconds_to_wait(self) -> float:
        wait = min(max(1.0 / self._speed, _FASTEST), _SLOWEST)
        return max(0.0, self._drawn_at + wait - time.monotonic())

    def _draw(self) -> None:
        self._ui = replace(self._ui, replay=self._position(self._speed))
        super()._draw()
