"""Who is logged in, and how often somebody tried in vain; one owner, the thread of the server."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from bgtop.web.credentials import Account
from bgtop.web.grants import Person
from bgworker.values import dataclass

LONGEST: Final = 12 * 3600.0
"""Seconds until one has to log in again."""

_IDLE: Final = 2 * 3600.0
_MOST: Final = 1000
_MOST_PLACES: Final = 4096


@dataclass(slots=True)
class _Session:
    account: Account
    guard: str
    began: float
    used: float


class Sessions:
    """Sessions by the hash of their id: whoever reads our memory cannot use them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[bytes, _Session] = OrderedDict()

    def begin(self, account: Account) -> str:
        """A new session and its id, which nobody has known before."""
        now = self._clock()
        if len(self._open) >= _MOST:
            self._open.popitem(last=False)
        id_ = secrets.token_urlsafe(32)
        self._open[_key(id_)] = _Session(account, secrets.token_urlsafe(24), now, now)
        return id_

    def person(self, id_: str) -> Person | None:
        """Who has this session, unless it is over."""
        key, now = _key(id_), self._clock()
        session = self._open.get(key)
        if session is None:
            return None
        if now - session.began > LONGEST or now - session.used > _IDLE:
            del self._open[key]
            return None
        session.used = now
        self._open.move_to_end(key)
        account = session.account
        return Person(account.name, account.grant, "session", session.guard)

    def is_open(self, id_: str) -> bool:
        """Whether it is not over; whoever only watches does not use it."""
        session, now = self._open.get(_key(id_)), self._clock()
        return session is not None and now - session.began <= LONGEST

    def end(self, id_: str) -> None:
        """It is over, wherever it is still known."""
        self._open.pop(_key(id_), None)


class Passed:
    """Passwords that were right a moment ago: scrypt at each request would be all we do.

    Each only where it came from: elsewhere a right guess would be answered however many were wrong.
    """

    _SECONDS: Final = 300.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[float, Account]] = OrderedDict()

    def get(self, credentials: str, place: str) -> Account | None:
        """Who has given these credentials before, from there."""
        found = self._known.get(self._of(credentials, place))
        return found[1] if found and self._clock() - found[0] < self._SECONDS else None

    def put(self, credentials: str, place: str, account: Account) -> None:
        """These were right, and came from there."""
        if len(self._known) >= _MOST:
            self._known.popitem(last=False)
        self._known[self._of(credentials, place)] = (self._clock(), account)

    def _of(self, credentials: str, place: str) -> bytes:
        return hmac.digest(self._secret, f"{place}\0{credentials}".encode(), "sha256")


class Attempts:
    """Failed log-ins: so many from one place and in all within a minute, then one has to wait."""

    _WINDOW: Final = 60.0

    def __init__(
        self, each: int = 5, all_: int = 60, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._each, self._all, self._clock = each, all_, clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._everywhere: deque[float] = deque(maxlen=all_)

    def wait(self, place: str) -> float:
        """Seconds until somebody there may try again; 0 if now."""
        return max(self.wait_there(place), self._left(self._everywhere, self._all))

    def wait_there(self, place: str) -> float:
        """The same, for those whom what happens elsewhere does not concern."""
        return self._left(self._failed.get(place, ()), self._each)

    def _left(self, tries: Sequence[float], most: int) -> float:
        since = self._clock() - self._WINDOW
        return tries[0] - since if len(tries) >= most and tries[0] > since else 0.0

    def failed(self, place: str) -> None:
        """One more; a place that has to wait already uses up no more of what all places have."""
        if self.wait(place) > 0:
            return
        if place not in self._failed and len(self._failed) >= _MOST_PLACES:
            self._failed.popitem(last=False)
        self._failed.setdefault(place, deque(maxlen=self._each)).append(self._clock())
        self._everywhere.append(self._clock())


def _key(id_: str) -> bytes:
    return hashlib.sha256(id_.encode()).digest()
