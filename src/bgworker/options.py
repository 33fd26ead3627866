"""What a caller may ask of one job, and how it is checked before anything is stored."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bgworker.handle import Handle
from bgworker.model import JobId, Millis, is_name, is_within
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from datetime import datetime

LONGEST = 1e9
"""Seconds, 31 years: timers and stored instants do not reach for ever."""
_LAST: Millis = 253_402_300_799_999
"""The end of the year 9999, beyond which no calendar goes."""
_KEY_CAP = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Asked for with ``.options(…)``. Seconds count from the moment a job is stored."""

    run_at: Millis | None = None
    countdown: float | None = None
    expires_at: Millis | None = None
    expires_after: float | None = None
    unique: str | None = None
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    after: tuple[JobId, ...] = ()

    def starts(self) -> Millis | None:
        """The instant before which the job must not start, counted from now."""
        return self.run_at if self.countdown is None else _now_plus(self.countdown)

    def ends(self) -> Millis | None:
        """The instant after which the job must not start any more, counted from now."""
        return self.expires_at if self.expires_after is None else _now_plus(self.expires_after)


PLAIN = Options()


def delay(seconds: float) -> float:
    """A delay; one in the past is no delay."""
    if not is_within(seconds, -LONGEST, LONGEST):
        raise ValueError(f"countdown={seconds!r} must be a number of seconds, {LONGEST:g} at most")
    return seconds


def instant(option: str, at: datetime) -> Millis:
    """An aware datetime as milliseconds of UTC."""
    if not hasattr(at, "timestamp"):  # text, a date, a timedelta
        raise ValueError(f"{option}={at!r} is no point in time: use an aware datetime")
    if at.tzinfo is None:
        raise ValueError(f"{option}={at!r} has no time zone: use an aware datetime")
    return min(_LAST, round(at.timestamp() * 1000))


def seconds(option: str, value: float) -> float:
    """A duration that makes sense as a limit."""
    if not is_within(value, 0, LONGEST) or value == 0:
        raise ValueError(f"{option}={value!r} must be more than 0 and at most {LONGEST:g} seconds")
    return value


def key(option: str, text: str) -> str:
    """A text by which jobs are told apart or counted together."""
    if type(text) is not str or not is_name(text) or len(text) > _KEY_CAP:
        raise ValueError(f"{option}={text!r} must be a text of 1 to {_KEY_CAP} characters")
    return text


def job_id(text: str) -> JobId:
    """The id of a job."""
    if not isinstance(text, str):
        raise TypeError(f"{text!r:.80} is no job: a handle's id is needed, which is a text")
    return JobId(text)


def parents(after: Iterable[Handle[Any] | str]) -> tuple[JobId, ...]:
    """The jobs that one comes after, given as handles or ids."""
    if isinstance(after, str) or not hasattr(after, "__iter__"):
        raise TypeError(f"after={after!r} must be a list of jobs")
    return tuple(one.id if isinstance(one, Handle) else job_id(one) for one in after)


def concurrency(value: int) -> int:
    """How many jobs may run at once."""
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"concurrency={value!r} must be a whole number from 1 on")
    return value


def timed(
    chosen: Options,
    *,
    countdown: float | None,
    eta: datetime | None,
    expires: float | datetime | None,
) -> Options:
    """The options with these times; ``None`` leaves one as it is."""
    if countdown is not None and eta is not None:
        raise ValueError("countdown and eta exclude each other")
    if countdown is not None:
        chosen = replace(chosen, countdown=delay(countdown), run_at=None)
    elif eta is not None:
        chosen = replace(chosen, countdown=None, run_at=instant("eta", eta))
    if expires is None:
        return chosen
    if isinstance(expires, (int, float)):
        return replace(chosen, expires_after=seconds("expires", expires), expires_at=None)
    return replace(chosen, expires_after=None, expires_at=instant("expires", expires))


def keyed(
    chosen: Options, unique: str | None, idempotency: str | None, concurrency: str | None
) -> Options:
    """The options with these keys; ``None`` leaves one as it is."""
    if unique is not None:
        chosen = replace(chosen, unique=key("unique", unique))
    if idempotency is not None:
        chosen = replace(chosen, idempotency_key=key("idempotency_key", idempotency))
    if concurrency is not None:
        chosen = replace(chosen, concurrency_key=key("concurrency_key", concurrency))
    return chosen


def _now_plus(seconds: float) -> Millis:
    return time.time_ns() // 1_000_000 + round(seconds * 1000)
