"""Log-in by an OpenID provider: the code flow with state, nonce and PKCE.

A log-in that is under way belongs to one browser: its cookie finds the state, nonce and verifier,
which are used once. Imported only where a provider is configured; what speaks and verifies is
Authlib's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from bgtop.view.text import clean
from bgtop.web.auth import Refused
from bgworker.values import dataclass

if TYPE_CHECKING:
    from bgtop.web.credentials import Account
    from bgtop.web.oidc_grants import Rules

TRIP_SECONDS: Final = 600
"""How long a log-in may take."""

_SECONDS: Final = 5.0
"""How long an answer of the provider is waited for."""

_METADATA_SECONDS: Final = 3600.0
_LEEWAY: Final = 60
_MOST: Final = 1000
MOST_OF_A_PLACE: Final = 50
"""Log-ins under way of those from one place: who begins more ends the own ones, not others'."""

_AT_ONCE: Final = 4
_ALGORITHMS: Final = [f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)]
"""With a key of the provider's; never one that anybody could have signed with."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Who vouches for people, what this server is called there, and what follows for whom."""

    issuer: str
    client_id: str
    secret: str | None
    rules: Rules


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


class Oidc:
    """Log-ins that are under way. The methods wait for the provider: not for the server's thread.

    ``clock`` is monotonic.
    """

    def __init__(self, provider: Provider, clock: Callable[[], float] = time.monotonic) -> None:
        self.provider, self._clock = provider, clock
        self._trips: OrderedDict[bytes, Trip] = OrderedDict()
        self._lock = Lock()
        self.turns = asyncio.Semaphore(_AT_ONCE)
        """Taken by who calls a method: a provider that is slow must not take all threads."""
        self._metadata: tuple[float, Mapping[str, Any]] | None = None

    def begin(self, redirect: str, after: str, place: str) -> Setting:
        """Send a browser from this place to the provider, which sends it back to ``redirect``.

        Raises :class:`Refused` when the provider cannot be asked.
        """
        made = [secrets.token_urlsafe(32) for _ in range(4)]
        trip = Trip(made[0], made[1], made[2], redirect, after, place, self._clock())
        with self._client(trip) as client:
            address, _ = client.create_authorization_url(
                self._known("authorization_endpoint"),
                state=trip.state,
                nonce=trip.nonce,
                code_verifier=trip.verifier,
            )
        with self._lock:
            mine = [key for key, other in self._trips.items() if other.place == place]
            if len(mine) >= MOST_OF_A_PLACE:
                del self._trips[mine[0]]
            elif len(self._trips) >= _MOST:
                self._trips.popitem(last=False)
            self._trips[_key(made[3])] = trip
        return Setting(str(address), made[3])

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
        if answer.get("iss", self.provider.issuer) != self.provider.issuer:
            raise Refused(403, "the answer comes from another provider (iss)")
        claims = self._claims(trip, answer.get("code", ""))
        account = self.provider.rules.account(claims, self.provider.issuer)
        if account is None:
            who = clean(str(claims.get("email") or claims.get("sub")))
            raise Refused(403, f"{who} is not known here: no --oidc-grant is about them")
        return account, trip.after

    def _claims(self, trip: Trip, code: str) -> dict[str, Any]:
        """What the provider says of somebody, proved to be said by it, to us, now."""
        try:
            with self._client(trip) as client:
                token = client.fetch_token(
                    self._known("token_endpoint"), code=code, code_verifier=trip.verifier
                )
                claims = self._proved(token, trip)
                if self.provider.rules.claim not in claims:
                    claims = {**self._told(client, claims), **claims}
                return claims
        except (AuthlibBaseError, JoseError) as fault:
            raise Refused(403, f"the log-in does not hold: {clean(str(fault))}") from None
        except (requests.RequestException, ValueError, KeyError, TypeError) as fault:
            raise Refused(
                502, f"the provider gave no answer that is one: {_words(fault)}"
            ) from None

    def _proved(self, token: Mapping[str, Any], trip: Trip) -> dict[str, Any]:
        set_: Any = self._read(self._known("jwks_uri"))
        keys = KeySet.import_key_set(set_)
        found = jwt.decode(token["id_token"], keys, algorithms=_ALGORITHMS)
        us = {"essential": True, "value": self.provider.client_id}
        options = {"iss": {"essential": True, "value": self.provider.issuer}, "aud": us}
        params = {"nonce": trip.nonce, "client_id": self.provider.client_id}
        said = {**params, "access_token": token.get("access_token")}
        CodeIDToken(found.claims, found.header, options, said).validate(leeway=_LEEWAY)
        return dict(found.claims)

    def _told(self, client: OAuth2Session, claims: Mapping[str, Any]) -> dict[str, Any]:
        """What it says beside the proof, as many say groups; only of the same person."""
        place = self._found().get("userinfo_endpoint")
        if place is None:
            return {}
        answer = client.get(place, allow_redirects=False)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told if told.get("sub") == claims["sub"] else {}

    def _client(self, trip: Trip) -> OAuth2Session:
        secret = self.provider.secret
        ways = self._found().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        by = "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"
        return OAuth2Session(
            self.provider.client_id,
            secret,
            token_endpoint_auth_method=by if secret else "none",
            scope="openid profile email",
            redirect_uri=trip.redirect,
            code_challenge_method="S256",
            default_timeout=_SECONDS,
        )

    def _known(self, name: str) -> str:
        """One of the provider's addresses."""
        return str(self._found()[name])

    def _found(self) -> Mapping[str, Any]:
        """What the provider says of itself, asked once in a while; raises :class:`Refused`."""
        now = self._clock()
        if self._metadata is None or now - self._metadata[0] > _METADATA_SECONDS:
            issuer = self.provider.issuer
            try:
                said = self._read(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            except (requests.RequestException, ValueError) as fault:
                words = f"the provider cannot be asked: {_words(fault)}"
                raise Refused(502, words) from None
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if said.get("issuer") != issuer or not all(name in said for name in needed):
                raise Refused(502, "the provider does not describe itself as the issuer given")
            self._metadata = now, said
        return self._metadata[1]

    def _read(self, address: str) -> dict[str, Any]:
        answer = requests.get(address, timeout=_SECONDS, allow_redirects=False)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _words(fault: Exception) -> str:
    """Of the kind of fault only: its text may have addresses with secrets in them."""
    return type(fault).__name__


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
