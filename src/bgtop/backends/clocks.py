"""How far the clock of somebody else is off, by the times they wrote on what they sent. Pure.

What was written at a time and arrived by now proves that their clock is ahead by the difference at
least, however long it was on its way. That it is behind is proved only as far as nothing was on its
way for long: of several looks the one with the least delay counts, and of one look alone nothing
follows.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

_LOOKS: Final = 3
"""Those remembered: a clock that was set right is right soon."""

_FEWEST: Final = 2


class _Look(NamedTuple):
    since: float
    ahead: float
    """By how much the clock is ahead at least."""
    behind: float
    """By how much it is ahead at most, if what was written was not on its way for long."""


class Clock:
    """A fold over what one worker wrote."""

    __slots__ = ("_looks",)

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque(maxlen=_LOOKS)

    def hear(self, written: float, *, since: float, now: float) -> None:
        """Fold what arrived between two looks of ours, with the time by the other clock."""
        look = _Look(since, written - now, written - since)
        if self._looks and self._looks[-1].since == since:
            last = self._looks.pop()
            look = _Look(since, max(last.ahead, look.ahead), min(last.behind, look.behind))
        self._looks.append(look)

    @property
    def ahead(self) -> float:
        """Seconds by which it is ahead of ours at least, or behind; 0 if nothing is proved."""
        ahead = max((look.ahead for look in self._looks), default=0.0)
        if ahead > 0 or len(self._looks) < _FEWEST:
            return max(ahead, 0.0)
        return min(max(look.behind for look in self._looks), 0.0)
