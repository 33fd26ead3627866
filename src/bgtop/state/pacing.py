"""How long to wait before the next poll."""

from __future__ import annotations

from typing import Final

_FIRST_BACK_OFF: Final = 0.5
_LONGEST_BACK_OFF: Final = 30.0

_IMPATIENT: Final = 0.3
"""Seconds between polls while a source still gathers its first facts."""


def back_off(attempts: int, chance: float) -> float:
    """Seconds until the next attempt after so many failed ones; ``chance`` is from [0, 1).

    Full jitter between half a second and a bound that doubles up to half a minute: a thousand
    monitors of one broker do not come back at the same moment.
    """
    # The exponent is bounded, or a week of failures would overflow.
    bound = min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2.0 ** min(attempts, 10))
    return _FIRST_BACK_OFF + chance * (bound - _FIRST_BACK_OFF)


def pause(interval: float, poll_seconds: float, *, complete: bool) -> float:
    """Seconds between the end of a good poll and the beginning of the next one.

    Polls begin ``interval`` apart, and a source that answers slowly is never read more than half
    of the time.
    """
    if not complete:
        interval = min(interval, _IMPATIENT)
    return max(interval - poll_seconds, min(poll_seconds, interval))
