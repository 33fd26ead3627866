"""Who a provider of OAuth 2 may let in: rules that hold to the letter, options, addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgtop.cli.web import parser
from bgtop.cli.web_login import login_of
from bgtop.config import ConfigError
from bgtop.web.credentials import BadCredentials
from bgtop.web.grants import Role
from bgtop.web.log_ins import Registered
from bgtop.web.oauth import Oauth, github
from bgtop.web.vouched import rules_of

OURS = {"BGTOP_WEB_OAUTH_SECRET": "S3CRET"}
GITHUB = ["--oauth-provider", "github", "--oauth-client-id", "bgtop"]
ANN = ["--oauth-grant", "ann=admin"]
OTHER = ["--oauth-provider", "https://id.example/agree?realm=main", "--oauth-client-id", "bgtop"]
ITS = ["--oauth-token-url", "https://id.example/token"]
ITS += ["--oauth-userinfo-url", "https://api.id.example/me"]


def asked(*options: str) -> Any:
    """Who is asked with these options."""
    made = login_of(parser("web").parse_args([*options]), OURS)
    assert made is not None
    provider = made.provider
    assert isinstance(provider, Oauth)
    return provider


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("login", {"login": "ann"}, Role.ADMIN),
        ("login", {"login": "ann2"}, None),
        ("login", {"login": "mary-ann"}, None),
        ("login", {"login": "Ann"}, None),
        ("login", {"login": "ann\n"}, None),
        ("login", {"login": "a[n]n"}, None),
        ("id", {"id": 7}, Role.VIEWER),
        ("id", {"id": True}, None),
        ("id", {"id": 77}, None),
        ("org", {"org": ["x", "o?s"]}, Role.OPERATOR),
        ("org", {"org": ["ops"]}, None),
        ("email", {"email": ["b@h", "a@h"], "email_verified": True}, Role.VIEWER),
        ("email", {"email": "a@h", "email_verified": True}, Role.VIEWER),
        ("email", {"email": "a@h"}, None),
        ("email", {"email": "a@h", "email_verified": "true"}, None),
        ("email", {"email": "a@h.evil.example", "email_verified": True}, None),
    ],
)
def test_who_is_meant_is_who_is_named_to_the_letter(
    claim: str, claims: dict[str, Any], role: Role | None
) -> None:
    """Neither part of a name nor what a pattern would fit."""
    grants = ["ann=admin", "a[n]m=admin", "o?s=operator", "a@h=viewer", "7=viewer"]
    account = rules_of("oauth", claim, grants).account({"sub": "1", **claims}, "https://h")
    assert (account.grant.role if account else None) == role


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*=viewer", "expected the whole login, not a pattern"),
        ("ann", "expected VALUE=ROLE"),
        ("ann=king", "expected VALUE=ROLE"),
        ("ann=viewer,where=x", "expected VALUE=ROLE"),
    ],
)
def test_a_rule_that_is_none_is_told(text: str, words: str) -> None:
    with pytest.raises(BadCredentials, match=f"^--oauth-grant .*{words}"):
        rules_of("oauth", "login", [text])


@pytest.mark.parametrize(
    ("base", "api"),
    [
        ("https://github.com", "https://api.github.com/user"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com/user"),
        ("https://git.acme.example", "https://git.acme.example/api/v3/user"),
        ("https://evilgithub.com", "https://evilgithub.com/api/v3/user"),
        ("https://git.acme.example:8443", "https://git.acme.example:8443/api/v3/user"),
    ],
)
def test_where_github_is_asked(base: str, api: str) -> None:
    made = github(base, Registered("bgtop", "S3CRET"), rules_of("oauth", "login", ["ann=admin"]))
    assert made.places == (f"{base}/login/oauth/authorize", f"{base}/login/oauth/access_token", api)


def test_github_is_asked_for_no_more_than_is_needed() -> None:
    scopes = {
        claim: asked(*GITHUB, *ANN, "--oauth-claim", claim).us.scope
        for claim in ("login", "id", "email", "org")
    }
    assert scopes == {"login": None, "id": None, "email": "user:email", "org": "read:org"}
    assert asked(*GITHUB, *ANN).rules.claim == "login"
    assert asked(*GITHUB, *ANN, "--oauth-scope", "user").us.scope == "user"
    own = ["--oauth-provider", "github=https://git.acme.example/", *GITHUB[2:]]
    assert asked(*own, *ANN).name == "https://git.acme.example"


def test_another_provider_is_its_addresses() -> None:
    made = asked(*OTHER, *ITS, *ANN, "--oauth-scope", "email")
    assert made.name == "https://id.example"
    assert made.places == (OTHER[1], ITS[1], ITS[3])
    assert (made.us, made.rules.claim) == (Registered("bgtop", "S3CRET", "email"), "email")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--oauth-provider", "github"], "^--oauth-provider needs --oauth-client-id$"),
        (GITHUB, "^--oauth-grant: missing, and without one nobody may enter$"),
        ([*GITHUB, "--oauth-grant", "a=king"], "VALUE=ROLE"),
        ([*GITHUB, *ANN, "--oauth-claim", ""], "^--oauth-claim: expected the name of a claim"),
        (
            [*GITHUB, *ANN, "--oauth-claim", "company"],
            "^--oauth-claim company: GitHub tells login, id, email, org$",
        ),
        ([*GITHUB, *ANN, *ITS], r"^--oauth-token-url, --oauth-userinfo-url: of no use: the addr"),
        ([*GITHUB, *ANN, "--oauth-secret-file", "F"], "others"),
        ([*GITHUB, *ANN, "--oidc-issuer", "https://h"], "^--oidc-issuer, --oauth-provider: one "),
        (
            ["--oauth-provider", "github=http://git.example", *GITHUB[2:], *ANN],
            "^--oauth-provider github=http://git.example: expected https",
        ),
        (["--oauth-provider", "github=", *GITHUB[2:], *ANN], "github=: expected https"),
        (
            ["--oauth-provider", "github=https://h/api", *GITHUB[2:], *ANN],
            "github=https://h/api: expected github=https://HOST$",
        ),
        (
            ["--oauth-provider", "gitlab", *GITHUB[2:], *ANN],
            "gitlab: expected github, ",
        ),
        ([*OTHER, *ANN], "needs --oauth-token-url and --oauth-userinfo-url$"),
        (
            [*OTHER, *ANN, *ITS[:2], "--oauth-userinfo-url", "http://api.id.example/me"],
            "^--oauth-userinfo-url http://api.id.example/me: expected https",
        ),
        (ANN, "^--oauth-grant: of no use without a provider; add --oauth-provider github$"),
        (["--oauth-scope", "user"], "^--oauth-scope: of no use without a provider"),
    ],
)
def test_what_is_not_safe_is_refused(options: list[str], words: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("S3CRET")
    secret.chmod(0o644)
    given = [str(secret) if word == "F" else word for word in options]

    with pytest.raises(ConfigError, match=words) as caught:
        login_of(parser("web").parse_args(given), OURS)
    assert "S3CRET" not in str(caught.value)


def test_github_wants_a_secret() -> None:
    with pytest.raises(ConfigError, match=r"^--oauth-provider github needs --oauth-secret-file"):
        login_of(parser("web").parse_args([*GITHUB, *ANN]), {})
