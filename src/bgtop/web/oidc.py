"""What an OpenID provider says of somebody: proved to be said by it, to us, now."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import requests
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet

from bgtop.web.auth import Refused
from bgtop.web.log_ins import NO_ANSWER, bounded, client_of, kind_of, token_of, told

if TYPE_CHECKING:
    from authlib.integrations.requests_client import OAuth2Session

    from bgtop.web.log_ins import Registered, Trip
    from bgtop.web.vouched import Rules

_METADATA_SECONDS: Final = 3600.0
_LEEWAY: Final = 60
_ALGORITHMS: Final = [f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)]
"""With a key of the provider's; never one that anybody could have signed with."""


class Oidc:
    """A provider that describes itself below its address and signs what it says."""

    way: Final = "oidc"

    def __init__(
        self,
        issuer: str,
        us: Registered,
        rules: Rules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.rules = issuer, rules
        self._us, self._clock = us, clock
        self._metadata: tuple[float, Mapping[str, Any]] | None = None

    def address(self, trip: Trip) -> str:
        """Where a browser is sent; raises :class:`Refused` when the provider cannot be asked."""
        with self._client(trip) as client:
            address, _ = client.create_authorization_url(
                self._known("authorization_endpoint"),
                state=trip.state,
                nonce=trip.nonce,
                code_verifier=trip.verifier,
            )
        return str(address)

    def claims(self, trip: Trip, answer: Mapping[str, str]) -> dict[str, Any]:
        """What it says of who came back, proved."""
        if answer.get("iss", self.name) != self.name:
            raise Refused(403, "the answer comes from another provider (iss)")
        with self._client(trip) as client:
            token = token_of(client, self._known("token_endpoint"), trip, answer)
            claims = self._proved(token, trip)
            if self.rules.claim not in claims:
                claims = {**self._told(client, claims), **claims}
            return claims

    def _proved(self, token: Mapping[str, Any], trip: Trip) -> dict[str, Any]:
        set_: Any = _read(self._known("jwks_uri"))
        keys = KeySet.import_key_set(set_)
        found = jwt.decode(token["id_token"], keys, algorithms=_ALGORITHMS)
        us = {"essential": True, "value": self._us.id}
        options = {"iss": {"essential": True, "value": self.name}, "aud": us}
        params = {"nonce": trip.nonce, "client_id": self._us.id}
        said = {**params, "access_token": token.get("access_token")}
        CodeIDToken(found.claims, found.header, options, said).validate(leeway=_LEEWAY)
        return dict(found.claims)

    def _told(self, client: OAuth2Session, claims: Mapping[str, Any]) -> dict[str, Any]:
        """What it says beside the proof, as many say groups; only of the same person."""
        place = self._found().get("userinfo_endpoint")
        if place is None:
            return {}
        said: dict[str, Any] = told(client, place)
        return said if said.get("sub") == claims["sub"] else {}

    def _client(self, trip: Trip) -> OAuth2Session:
        ways = self._found().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        by = "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"
        return client_of(self._us._replace(scope="openid profile email", by=by), trip)

    def _known(self, name: str) -> str:
        """One of the provider's addresses."""
        return str(self._found()[name])

    def _found(self) -> Mapping[str, Any]:
        """What the provider says of itself, asked once in a while; raises :class:`Refused`."""
        now = self._clock()
        if self._metadata is None or now - self._metadata[0] > _METADATA_SECONDS:
            try:
                said = _read(f"{self.name.rstrip('/')}/.well-known/openid-configuration")
            except NO_ANSWER as fault:
                words = f"the provider cannot be asked: {kind_of(fault)}"
                raise Refused(502, words) from None
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if said.get("issuer") != self.name or not all(name in said for name in needed):
                raise Refused(502, "the provider does not describe itself as the issuer given")
            self._metadata = now, said
        return self._metadata[1]


def _read(address: str) -> dict[str, Any]:
    with bounded(requests.Session()) as session:
        found: dict[str, Any] = told(session, address)
        return found
