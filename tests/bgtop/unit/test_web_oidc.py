"""Who an OpenID provider may let in, and as what: claims, rules, options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from bgtop.cli.web import parser
from bgtop.cli.web_login import login_of
from bgtop.config import ConfigError
from bgtop.web.auth import Doors
from bgtop.web.credentials import BadCredentials
from bgtop.web.grants import Grant, Role
from bgtop.web.vouched import name_of, rules_of

ISSUER = "https://idp.example/realm"
VERIFIED = {"sub": "7", "email": "ann@example.com", "email_verified": True}


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("email", VERIFIED, Role.VIEWER),
        ("email", {**VERIFIED, "email_verified": False}, None),
        ("email", {**VERIFIED, "email_verified": "true"}, None),
        ("email", {"sub": "7", "email": "ann@example.com"}, None),
        ("email", {**VERIFIED, "email": "ann@example.com.evil.example"}, None),
        ("groups", {"sub": "7", "groups": ["x", "cn=ops,ou=a"]}, Role.OPERATOR),
        ("groups", {"sub": "7", "groups": "cn=ops,ou=a"}, Role.OPERATOR),
        ("groups", {"sub": "7", "groups": ["cn=ops,ou=a", "boss"]}, Role.ADMIN),
        ("groups", {"sub": "7", "groups": [None, 3, {"boss": 1}]}, None),
        ("groups", {"sub": "7", "groups": {"boss": 1}}, None),
        ("groups", VERIFIED, None),
    ],
)
def test_the_first_rule_that_fits_decides(
    claim: str, claims: dict[str, Any], role: Role | None
) -> None:
    options = ["boss=admin", "cn=ops,ou=*=operator,source=h*,queue=a", "*@example.com=viewer"]
    account = rules_of("oidc", claim, options).account(claims, ISSUER)

    assert (account.grant.role if account else None) == role
    if role is Role.OPERATOR:
        assert account is not None
        assert account.grant == Grant(Role.OPERATOR, ("h*",), ("a",))
        assert not account.by_token


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"sub": "a\x1b[1m\nb\u202ec"}, r"a\x1b[1m\x0ab\u202ec@idp.example"),
        (VERIFIED, "ann@example.com"),
        ({**VERIFIED, "email_verified": False}, "7@idp.example"),
        ({"sub": "7", "preferred_username": "admin"}, "admin@idp.example"),
        ({"sub": "7", "email": "root", "email_verified": True}, "7@idp.example"),
    ],
)
def test_nobody_gets_the_name_of_somebody_known_here(claims: dict[str, Any], name: str) -> None:
    assert name_of(claims, ISSUER) == name


@pytest.mark.parametrize("text", ["ops", "ops=king", "=admin", "ops=admin,where=x", "ops=admin,"])
def test_a_rule_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BadCredentials, match="--oidc-grant"):
        rules_of("oidc", "groups", [text])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--oidc-issuer", "http://idp.example"], "expected https"),
        (["--oidc-issuer", "idp.example"], "expected https"),
        (["--oidc-issuer", ISSUER, "--oidc-grant", "a=king"], "VALUE=ROLE"),
        (["--oidc-issuer", ISSUER], "nobody may enter"),
        (["--oidc-issuer", ISSUER, "--oidc-claim", ""], "the name of a claim"),
        (["--oidc-issuer", ISSUER, "--oidc-grant", "a=admin", "--oidc-secret-file", "F"], "others"),
    ],
)
def test_what_is_not_safe_is_refused(options: list[str], words: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("S3CRET")
    secret.chmod(0o644)
    given = [str(secret) if word == "F" else word for word in options]

    with pytest.raises(ConfigError, match=words) as caught:
        login_of(parser("web").parse_args([*given, "--oidc-client-id", "bgtop"]), {})
    assert "S3CRET" not in str(caught.value)


def test_options_of_a_provider_need_one() -> None:
    assert login_of(parser("web").parse_args([]), {}) is None
    given = {"client-id": "x", "secret-file": "F", "claim": "email", "grant": "a=admin"}
    for option, value in [*given.items(), ("claim", "")]:
        words = f"^--oidc-{option}: of no use without a provider; add --oidc-issuer URL$"
        with pytest.raises(ConfigError, match=words):
            login_of(parser("web").parse_args([f"--oidc-{option}", value]), {})
    every = [word for option, value in given.items() for word in (f"--oidc-{option}", value)]
    with pytest.raises(ConfigError, match=r"^--oidc-client-id, --oidc-secret-file, --oidc-claim, "):
        login_of(parser("web").parse_args(every), {})
    with pytest.raises(ConfigError, match="--oidc-client-id"):
        login_of(parser("web").parse_args(["--oidc-issuer", ISSUER]), {})


@pytest.mark.parametrize(
    ("doors", "address"),
    [
        (Doors(), "http://h:1/login/oidc/back"),
        (Doors(prefix="/jobs", tls=True), "https://h:1/jobs/login/oidc/back"),
        (Doors(prefix="/jobs", behind_proxy=True), "https://p.example/jobs/login/oidc/back"),
    ],
)
def test_a_browser_comes_back_to_where_it_was(doors: Doors, address: str) -> None:
    """A name that somebody else sends along is believed of a proxy only."""
    headers = [(b"host", b"h:1"), (b"x-forwarded-host", b"p.example")]
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": headers})
    assert doors.address(request, "login/oidc/back") == address
