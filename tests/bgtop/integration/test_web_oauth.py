"""What a provider of OAuth 2 says, whatever it says: a real one is asked."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest
from oauth_provider import CLIENT, MISBEHAVIOUR, SECRET, OauthProvider

from bgtop.web.auth import Refused
from bgtop.web.log_ins import LogIns, Registered
from bgtop.web.oauth import Oauth, Places, github, of_userinfo
from bgtop.web.oidc import Oidc
from bgtop.web.vouched import rules_of

BACK = "http://127.0.0.1:5555/login/oauth/back"
PEOPLE = {
    "ann": {
        "user": {"login": "ann", "id": 7, "email": "boss@example.com", "name": "boss"},
        "emails": [
            {"email": "boss@example.com", "verified": False, "primary": True},
            {"email": "ann@example.com", "verified": True, "primary": False},
        ],
        "orgs": [{"login": "acme"}, {"login": "ops"}],
        "userinfo": {"id": 7, "email": "ann@example.com", "email_verified": True},
    },
    "eve": {
        "user": {"login": "eve", "id": 8},
        "userinfo": {"username": "eve", "email": "ann@example.com", "email_verified": False},
    },
}


@pytest.fixture(scope="module")
def running() -> Iterator[OauthProvider]:
    with OauthProvider(PEOPLE).running() as made:
        yield made


@pytest.fixture
def provider(running: OauthProvider) -> Iterator[OauthProvider]:
    yield running
    running.wrong.clear()


def at_github(provider: OauthProvider, claim: str, *grants: str, secret: str = SECRET) -> LogIns:
    us = Registered(CLIENT, secret)
    return LogIns(github(provider.url, us, rules_of("oauth", claim, grants)))


def at_another(provider: OauthProvider, claim: str, *grants: str) -> LogIns:
    url = provider.url
    places = Places(f"{url}/login/oauth/authorize", f"{url}/token", f"{url}/userinfo")
    us, rules = Registered(CLIENT, SECRET), rules_of("oauth", claim, grants)
    return LogIns(Oauth(url, places, us, rules, of_userinfo))


def changed(address: str, **changes: str) -> str:
    parts = urlsplit(address)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert set(changes) <= set(query)
    return urlunsplit(parts._replace(query=urlencode({**query, **changes})))


def enter(
    logins: LogIns,
    provider: OauthProvider,
    who: str,
    out: dict[str, str] | None = None,
    back: dict[str, str] | None = None,
) -> tuple[str, str]:
    """The whole way, with these parameters changed; the name and role that come of it."""
    setting = logins.begin(BACK, "/tasks", "here")
    address = provider.agree(changed(setting.address, **out or {}), who)
    answer = {k: v[0] for k, v in parse_qs(urlsplit(changed(address, **back or {})).query).items()}
    trip = logins.take(setting.cookie, answer)
    account, after = logins.finish(trip, answer)
    assert after == "/tasks"
    return account.name, account.grant.role.value


@pytest.mark.parametrize(
    ("claim", "grant", "scope"),
    [
        ("login", "ann=operator", None),
        ("id", "7=operator", None),
        ("email", "ann@example.com=operator", "user:email"),
        ("org", "ops=operator", "read:org"),
    ],
)
def test_github_says_who_somebody_is(
    provider: OauthProvider, claim: str, grant: str, scope: str | None
) -> None:
    logins = at_github(provider, claim, grant)
    assert enter(logins, provider, "ann") == ("ann@localhost", "operator")
    came = provider.asked[-1]
    assert (came.get("scope"), came["redirect_uri"]) == (scope, BACK)
    assert "nonce" not in came
    with pytest.raises(Refused, match=r"^eve is not known here: no --oauth-grant is about them$"):
        enter(logins, provider, "eve")


def test_an_address_that_is_not_verified_is_nobodys(provider: OauthProvider) -> None:
    """Neither one of the list nor the one in the profile, which anybody may choose."""
    with pytest.raises(Refused, match="ann is not known here"):
        enter(at_github(provider, "email", "boss@example.com=admin"), provider, "ann")
    logins = at_another(provider, "email", "ann@example.com=admin")
    assert enter(logins, provider, "ann") == ("ann@example.com", "admin")
    with pytest.raises(Refused, match="is not known here"):
        enter(logins, provider, "eve")


def test_another_provider_names_people_in_its_own_way(provider: OauthProvider) -> None:
    logins = at_another(provider, "username", "eve=viewer")
    assert enter(logins, provider, "eve") == ("eve@localhost", "viewer")
    assert enter(at_another(provider, "id", "7=viewer"), provider, "ann")[1] == "viewer"


@pytest.mark.parametrize(
    ("out", "back", "words"),
    [
        ({}, {"state": "forged"}, "not one to this log-in"),
        ({}, {"code": "guessed"}, "the log-in does not hold: .*incorrect or expired"),
        ({"code_challenge": "A" * 43}, {}, "the log-in does not hold: .*wrong verifier"),
    ],
)
def test_what_is_forged(
    provider: OauthProvider, out: dict[str, str], back: dict[str, str], words: str
) -> None:
    with pytest.raises(Refused, match=words) as caught:
        enter(at_github(provider, "login", "ann=admin"), provider, "ann", out, back)
    assert caught.value.status == 403


def test_a_code_is_for_one_log_in(provider: OauthProvider) -> None:
    """Not for a second time, nor for another that was begun, whoever's code it is."""
    logins = at_github(provider, "login", "ann=admin")
    first, second = (logins.begin(BACK, "/", "here") for _ in range(2))
    said = parse_qs(urlsplit(provider.agree(first.address, "ann")).query)
    answer = {name: values[0] for name, values in said.items()}
    state = parse_qs(urlsplit(second.address).query)["state"][0]

    other = logins.take(second.cookie, {**answer, "state": state})
    with pytest.raises(Refused, match="does not hold"):
        logins.finish(other, {**answer, "state": state})
    trip = logins.take(first.cookie, answer)
    with pytest.raises(Refused, match="does not hold"):
        logins.finish(trip, answer)
    with pytest.raises(Refused, match="not begun here"):
        logins.take(first.cookie, answer)


def test_who_does_not_agree_stays_out(provider: OauthProvider) -> None:
    with pytest.raises(Refused, match="provider refused: access_denied The user denied it"):
        enter(at_github(provider, "login", "ann=admin"), provider, "nobody")
    with pytest.raises(Refused, match="incorrect_client_credentials"):
        enter(at_github(provider, "login", "ann=admin", secret="wrong"), provider, "ann")


@pytest.mark.parametrize("path", ["/login/oauth/access_token", "/api/v3/user", "/api/v3/user/orgs"])
@pytest.mark.parametrize("wrong", MISBEHAVIOUR)
def test_a_provider_that_talks_nonsense(provider: OauthProvider, path: str, wrong: str) -> None:
    """It lets nobody in, is told of, and 10 MB of it are not kept."""
    provider.wrong[path] = wrong
    with pytest.raises(Refused, match="the provider gave no answer that is one: ") as caught:
        enter(at_github(provider, "org", "acme=admin"), provider, "ann")
    assert caught.value.status == 502
    assert "127.0.0.1" not in caught.value.words
    assert ("TooLong" in caught.value.words) == (wrong == "long")


@pytest.mark.parametrize("wrong", MISBEHAVIOUR)
def test_a_provider_of_openid_that_talks_nonsense(provider: OauthProvider, wrong: str) -> None:
    """Of itself, so that nobody can even set out."""
    provider.wrong["/.well-known/openid-configuration"] = wrong
    us, rules = Registered(CLIENT, SECRET), rules_of("oidc", "email", ["*=admin"])
    with pytest.raises(Refused, match=r"^the provider (cannot be|does not)") as caught:
        LogIns(Oidc(provider.url, us, rules)).begin(BACK, "/", "here")
    assert caught.value.status == 502
    assert ("TooLong" in caught.value.words) == (wrong == "long")


def test_a_provider_that_is_away() -> None:
    with OauthProvider(PEOPLE).running() as provider:
        logins = at_github(provider, "login", "ann=admin")
        setting = logins.begin(BACK, "/", "here")
        said = parse_qs(urlsplit(provider.agree(setting.address, "ann")).query)
    answer = {name: values[0] for name, values in said.items()}
    trip = logins.take(setting.cookie, answer)
    with pytest.raises(Refused, match="no answer that is one: ConnectionError") as caught:
        logins.finish(trip, answer)
    assert caught.value.status == 502
