"""Log-ins that are under way at a provider, and how providers are asked.

A log-in belongs to one browser: its cookie finds the state, nonce and verifier, which are used
once. Imported only where a provider is configured; what speaks is Authlib's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import requests
import urllib3
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc.errors import JoseError

from bgtop.view.text import clean
from bgtop.web.auth import Refused

if TYPE_CHECKING:
    from bgtop.web.credentials import Account
    from bgtop.web.vouched import Rules

TRIP_SECONDS: Final = 600
"""How long a log-in may take."""

_SECONDS: Final = 5.0
"""How long an answer of the provider is waited for."""

_LONGEST: Final = 2**20
"""Bytes of an answer of the provider; what it tells of somebody are a few thousand."""

_MOST: Final = 1000
MOST_OF_A_PLACE: Final = 50
"""Log-ins under way of those from one place: who begins more ends the own ones, not others'."""

_AT_ONCE: Final = 4
NO_ANSWER: Final = (
    *(requests.RequestException, ValueError, LookupError, TypeError, AttributeError),
    RecursionError,
)
"""What comes of a provider that is away, or says something else than it should."""

_Session = TypeVar("_Session", bound=requests.Session)


class TooLong(ValueError):
    """An answer that has no end, or might as well have none."""


class Setting(NamedTuple):
    """What a browser needs to set out: where it is sent, and the cookie it comes back with."""

    address: str
    cookie: str


class Trip(NamedTuple):
    """A log-in that is under way."""

    state: str
    nonce: str
    verifier: str
    redirect: str
    after: str
    place: str
    began: float


class Registered(NamedTuple):
    """What this server is called at a provider, what it asks for, how it shows its secret."""

    id: str
    secret: str | None
    scope: str | None = None
    by: str = "client_secret_basic"


class Provider(Protocol):
    """Who vouches for people, and what follows for whom."""

    @property
    def way(self) -> str:
        """How it is spoken to, as options and paths call it: ``oidc`` or ``oauth``."""

    @property
    def name(self) -> str:
        """Its address, as it is written down who vouched for somebody."""

    @property
    def rules(self) -> Rules:
        """Who may enter."""

    def address(self, trip: Trip) -> str:
        """Where a browser is sent; raises :class:`Refused` when the provider cannot be asked."""

    def claims(self, trip: Trip, answer: Mapping[str, str]) -> dict[str, Any]:
        """What it says of who came back with this answer; raises what Authlib and requests do."""


class LogIns:
    """Log-ins that are under way. The methods wait for the provider: not for the server's thread.

    ``clock`` is monotonic.
    """

    def __init__(self, provider: Provider, clock: Callable[[], float] = time.monotonic) -> None:
        self.provider, self._clock = provider, clock
        self._trips: OrderedDict[bytes, Trip] = OrderedDict()
        self._lock = Lock()
        self.turns = asyncio.Semaphore(_AT_ONCE)
        """Taken by who calls a method: a provider that is slow must not take all threads."""

    def begin(self, redirect: str, after: str, place: str) -> Setting:
        """Send a browser from this place to the provider, which sends it back to ``redirect``.

        Raises :class:`Refused` when the provider cannot be asked.
        """
        made = [secrets.token_urlsafe(32) for _ in range(4)]
        trip = Trip(made[0], made[1], made[2], redirect, after, place, self._clock())
        address = self.provider.address(trip)
        with self._lock:
            mine = [key for key, other in self._trips.items() if other.place == place]
            if len(mine) >= MOST_OF_A_PLACE:
                del self._trips[mine[0]]
            elif len(self._trips) >= _MOST:
                self._trips.popitem(last=False)
            self._trips[_key(made[3])] = trip
        return Setting(address, made[3])

    def take(self, cookie: str, answer: Mapping[str, str]) -> Trip:
        """The log-in that this answers, which cannot be answered again; asks nobody.

        Raises :class:`Refused` for an answer to none. Anybody can send such, and make others send
        them: so it ends no log-in.
        """
        key, state = _key(cookie), answer.get("state", "")
        with self._lock:
            trip = self._trips.get(key)
            if trip is None or self._clock() - trip.began > TRIP_SECONDS:
                raise Refused(403, "this log-in was not begun here, or too long ago; begin again")
            if not hmac.compare_digest(state.encode(), trip.state.encode()):
                raise Refused(403, "the answer is not one to this log-in (state); begin again")
            del self._trips[key]
        return trip

    def finish(self, trip: Trip, answer: Mapping[str, str]) -> tuple[Account, str]:
        """Who has come back, and where they wanted to go; raises :class:`Refused`."""
        if "error" in answer:
            words = " ".join(filter(None, (answer["error"], answer.get("error_description"))))
            raise Refused(403, f"the provider refused: {clean(words)}")
        try:
            claims = self.provider.claims(trip, answer)
        except (AuthlibBaseError, JoseError) as fault:
            raise Refused(403, f"the log-in does not hold: {clean(str(fault))}") from None
        except NO_ANSWER as fault:
            words = f"the provider gave no answer that is one: {kind_of(fault)}"
            raise Refused(502, words) from None
        account = self.provider.rules.account(claims, self.provider.name)
        if account is None:
            said = (claims.get(name) for name in ("email", "preferred_username", "sub"))
            who = clean(next((one for one in said if isinstance(one, str) and one), "this person"))
            words = f"no --{self.provider.way}-grant is about them"
            raise Refused(403, f"{who} is not known here: {words}")
        return account, trip.after


def bounded(session: _Session) -> _Session:
    """The same, which takes so much of an answer and no more, whatever is sent."""
    session.hooks["response"].append(_cut)
    return session


def _cut(answer: requests.Response, **_options: Any) -> None:
    """Read the body of an answer of which the head was read."""
    said = bytearray()
    try:
        for part in answer.raw.stream(2**16, decode_content=True):
            said += part
            if len(said) > _LONGEST:
                raise TooLong
    except urllib3.exceptions.HTTPError as fault:
        raise requests.ConnectionError(fault) from None
    finally:
        answer.close()
    answer.raw = io.BytesIO(said)


def client_of(us: Registered, trip: Trip) -> OAuth2Session:
    """Who speaks to a provider for one log-in."""
    made = OAuth2Session(
        us.id,
        us.secret,
        token_endpoint_auth_method=us.by if us.secret else "none",
        scope=us.scope,
        redirect_uri=trip.redirect,
        code_challenge_method="S256",
        default_timeout=_SECONDS,
    )
    return bounded(made)


def token_of(
    client: OAuth2Session, place: str, trip: Trip, answer: Mapping[str, str]
) -> Mapping[str, Any]:
    """What the provider gives for the code of an answer; the client speaks with it from then on."""
    got: Mapping[str, Any] = client.fetch_token(
        place, code=answer.get("code", ""), code_verifier=trip.verifier, allow_redirects=False
    )
    if not isinstance(got.get("access_token"), str):
        raise TypeError("no token")
    return got


def told(session: requests.Session, address: str, kind: type = dict) -> Any:
    """What is said there, as JSON of this kind; raises what is in ``NO_ANSWER``."""
    answer = session.get(address, timeout=_SECONDS, allow_redirects=False)
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, kind):
        raise TypeError(address)
    return found


def kind_of(fault: Exception) -> str:
    """Of a fault its kind only: its text may have addresses with secrets in them."""
    return type(fault).__name__


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
