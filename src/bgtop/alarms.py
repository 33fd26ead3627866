"""Rules of the user's that are broken: what is seen of them, the bell, and a command."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bgtop.state.alerts import Memory, alerts_of

if TYPE_CHECKING:
    from subprocess import Popen

    from bgtop.model import Alert, Frame
    from bgtop.state.alerts import Rules

MOST_AT_ONCE: Final = 4
"""Commands that run at the same time; more alerts than that are told by those."""

_LONGEST: Final = 1000


class Watchman:
    """Holds frames against the rules, one after the other, and rings when one is broken."""

    def __init__(
        self, rules: Rules, ring: Callable[[], None], report: Callable[[str], None]
    ) -> None:
        self._rules = rules
        self._alarms = Alarms(rules, ring, report)
        self._memory = Memory()

    def look(self, frame: Frame) -> tuple[Alert, ...]:
        """The rules that are broken now."""
        alerts, self._memory = alerts_of(self._rules, frame, self._memory, time.monotonic())
        self._alarms.hear(alerts)
        return alerts


class Alarms:
    """Rings for alerts that are new; the same one again after ``rules.repeat`` seconds at least.

    The command gets the alert by its environment, never as a part of its words, and no shell reads
    it: names of queues are chosen by whoever can reach the broker.
    """

    def __init__(
        self,
        rules: Rules,
        ring: Callable[[], None],
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._ring = ring
        self._report = report
        self._clock = clock
        self._before: set[tuple[str, str, str]] = set()
        self._told: dict[tuple[str, str, str], float] = {}
        self._running: list[Popen[bytes]] = []

    def hear(self, alerts: Sequence[Alert]) -> None:
        """Take all alerts of this moment."""
        now = self._clock()
        self._told = {key: at for key, at in self._told.items() if now - at < self._rules.repeat}
        new = [alert for alert in alerts if alert[:3] not in self._before]
        self._before = {alert[:3] for alert in alerts}
        due = [alert for alert in new if alert[:3] not in self._told]
        for alert in due:
            self._told[alert[:3]] = now
        if due and self._rules.bell:
            self._ring()
        for alert in due:
            if self._rules.command and self.running < MOST_AT_ONCE:
                self._run(alert)

    @property
    def running(self) -> int:
        """How many commands have not ended yet."""
        self._running = [process for process in self._running if process.poll() is None]
        return len(self._running)

    def _run(self, alert: Alert) -> None:
        import subprocess

        told = {f"BGTOP_ALERT_{name.upper()}": text for name, text in alert._asdict().items()}
        # The system takes neither a NUL nor any length.
        told = {name: text.replace("\0", " ")[:_LONGEST] for name, text in told.items()}
        encoded = {name: text.encode("utf-8", "replace") for name, text in told.items()}
        try:
            self._running.append(
                subprocess.Popen(
                    self._rules.command,
                    env={**os.environb, **{k.encode(): v for k, v in encoded.items()}},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        except OSError as fault:
            self._report(f"the command of [alerts]: {fault.strerror}: {self._rules.command[0]}\n")
