"""What a provider of OAuth 2 that speaks no OpenID says of somebody, GitHub above all.

Such a provider signs nothing. What it says is believed because it is asked for at the provider's
own address, with a token that the provider gave this server for this log-in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.web.log_ins import client_of, token_of, told
from bgtop.web.vouched import GITHUB_CLAIMS
from bgworker.values import dataclass

if TYPE_CHECKING:
    import requests

    from bgtop.web.log_ins import Registered, Trip
    from bgtop.web.vouched import Rules

Told = Callable[["requests.Session", str, str], dict[str, Any]]
"""What is said of somebody, by a session with their token, at an address, about a claim."""

_NAMES: Final = ("preferred_username", "login", "username", "sub", "id")


class Places(NamedTuple):
    """Where people agree, where a token is got for it, and where is told whose it is."""

    authorize: str
    token: str
    userinfo: str


@dataclass(frozen=True, slots=True)
class Oauth:
    """A provider that is described by its addresses."""

    name: str
    places: Places
    us: Registered
    rules: Rules
    said: Told

    @property
    def way(self) -> str:
        """As options and paths call it."""
        return "oauth"

    def address(self, trip: Trip) -> str:
        """Where a browser is sent."""
        with client_of(self.us, trip) as client:
            address, _ = client.create_authorization_url(
                self.places.authorize, state=trip.state, code_verifier=trip.verifier
            )
        return str(address)

    def claims(self, trip: Trip, answer: Mapping[str, str]) -> dict[str, Any]:
        """What it says of who came back."""
        with client_of(self.us, trip) as client:
            token_of(client, self.places.token, trip, answer)
            return self.said(client, self.places.userinfo, self.rules.claim)


def github(base: str, us: Registered, rules: Rules) -> Oauth:
    """GitHub at its address: of everybody, of an enterprise in its cloud, or of one's own.

    It is asked for no more than the claim of the rules needs.
    """
    scheme, host = base.split("://")
    cloud = host == "github.com" or host.endswith(".ghe.com")
    own = us._replace(scope=us.scope or GITHUB_CLAIMS[rules.claim], by="client_secret_post")
    places = Places(
        f"{base}/login/oauth/authorize",
        f"{base}/login/oauth/access_token",
        f"{scheme}://api.{host}/user" if cloud else f"{base}/api/v3/user",
    )
    return Oauth(base, places, own, rules, of_github)


def of_userinfo(session: requests.Session, place: str, _claim: str) -> dict[str, Any]:
    """What one answer says; who says not at all who somebody is has said nothing."""
    said = told(session, place)
    who = next((said[name] for name in _NAMES if said.get(name)), None)
    if type(who) not in {str, int}:
        raise ValueError("nobody is named")
    return {**said, "preferred_username": str(who)}


def of_github(session: requests.Session, place: str, claim: str) -> dict[str, Any]:
    """Who somebody is at GitHub, and if these are what counts: verified addresses, organisations.

    A hundred of each. The address in a profile does not count: it is not said to be verified.
    """
    said = told(session, place)
    login, id_ = said["login"], said["id"]
    if not (isinstance(login, str) and login and type(id_) is int):
        raise ValueError("nobody is named")
    claims = {"login": login, "preferred_username": login, "sub": str(id_), "id": str(id_)}
    if claim == "email":
        every = told(session, f"{place}/emails?per_page=100", list)
        proved = [one["email"] for one in every if one["verified"] is True]
        return {**claims, "email": proved, "email_verified": True}
    if claim == "org":
        every = told(session, f"{place}/orgs?per_page=100", list)
        return {**claims, "org": [one["login"] for one in every]}
    return claims
