"""The options of ``bgtop web`` about a provider, which logs people in: OpenID, or plain OAuth 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from bgtop.config import ConfigError
from bgtop.registry import PluginError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from bgtop.cli.options import Parser
    from bgtop.web.log_ins import LogIns
    from bgtop.web.vouched import Rules

_NEEDED: Final = frozenset({"authlib", "joserfc", "requests", "urllib3"})
_GITHUB: Final = "https://github.com"
_COMMON: Final = ("client_id", "secret_file", "claim", "grant")
_ADDRESSES: Final = ("token_url", "userinfo_url")
_LEADING: Final = {"oidc": "--oidc-issuer", "oauth": "--oauth-provider"}


def add_login(made: Parser) -> None:
    """Add them."""
    login = made.add_argument_group("who an OpenID provider may let in")
    words = "the provider; its address as it writes it itself"
    login.add_argument("--oidc-issuer", metavar="URL", help=words)
    _add_common(login, "oidc", "email (default; verified), groups or another claim", "a pattern")
    login = made.add_argument_group("who GitHub, or another provider of OAuth 2, may let in")
    words = "github, github=URL of an own one, or the address where people agree"
    login.add_argument("--oauth-provider", metavar="PROVIDER", help=words)
    words = "where another provider than GitHub gives tokens"
    login.add_argument("--oauth-token-url", metavar="URL", help=words)
    words = "where it tells whose a token is"
    login.add_argument("--oauth-userinfo-url", metavar="URL", help=words)
    words = "what it is asked for; GitHub for what the claim needs"
    login.add_argument("--oauth-scope", metavar="SCOPE", help=words)
    words = "GitHub: login (default), email (verified), org, id; else email (default) or another"
    _add_common(login, "oauth", words, "the whole")


def _add_common(login: argparse._ArgumentGroup, way: str, claims: str, value: str) -> None:
    words = "what this server is called there"
    login.add_argument(f"--{way}-client-id", metavar="ID", help=words)
    words = "its secret there, if it has one; only its owner may read the file"
    login.add_argument(f"--{way}-secret-file", metavar="FILE", help=words)
    words = f"what people are known by: {claims}"
    login.add_argument(f"--{way}-claim", metavar="NAME", help=words)
    words = (
        f"who may enter: VALUE=ROLE[,source=GLOB][,queue=GLOB]; VALUE is {value}, the first fits"
    )
    login.add_argument(f"--{way}-grant", metavar="GRANT", action="append", default=[], help=words)


def login_of(options: argparse.Namespace, environ: Mapping[str, str]) -> LogIns | None:
    """What the options ask for; ``None`` without a provider, and then nothing is imported.

    Raises :class:`ConfigError`, and :class:`PluginError` where the libraries are missing.
    """
    issuer: str | None = options.oidc_issuer
    provider: str | None = options.oauth_provider
    if issuer is not None and provider is not None:
        raise ConfigError("--oidc-issuer, --oauth-provider: one provider logs people in, not two")
    if issuer is None:
        _check_unused(options, "oidc", _COMMON, " without a provider; add --oidc-issuer URL")
    if provider is None:
        about = (*_COMMON, *_ADDRESSES, "scope")
        _check_unused(options, "oauth", about, " without a provider; add --oauth-provider github")
    try:
        if issuer is not None:
            return _by_openid(issuer, options, environ)
        return None if provider is None else _by_oauth(provider, options, environ)
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] not in _NEEDED:
            raise
        leading = _LEADING["oauth" if issuer is None else "oidc"]
        hint = f"{leading} needs more than bgtop: pip install 'bgtop[oidc]'"
        raise PluginError(hint) from None


def _by_openid(issuer: str, options: argparse.Namespace, environ: Mapping[str, str]) -> LogIns:
    asked = _asked(options, environ, "oidc", "email", [("--oidc-issuer", issuer)])
    from bgtop.web.log_ins import LogIns, Registered
    from bgtop.web.oidc import Oidc

    return LogIns(Oidc(issuer, Registered(asked.id, asked.secret), asked.rules))


def _by_oauth(provider: str, options: argparse.Namespace, environ: Mapping[str, str]) -> LogIns:
    kind, _, place = provider.partition("=")
    if kind != "github":
        return _by_addresses(provider, options, environ)
    _check_unused(options, "oauth", _ADDRESSES, ": the addresses of GitHub are known")
    base = (place if "=" in provider else _GITHUB).rstrip("/")
    asked = _asked(options, environ, "oauth", "login", [("--oauth-provider github=", base)])
    if urlsplit(base).path or urlsplit(base).query:
        raise ConfigError(f"--oauth-provider {provider}: expected github=https://HOST")
    from bgtop.web.vouched import GITHUB_CLAIMS

    if asked.rules.claim not in GITHUB_CLAIMS:
        known = ", ".join(GITHUB_CLAIMS)
        raise ConfigError(f"--oauth-claim {asked.rules.claim}: GitHub tells {known}")
    if asked.secret is None:
        raise ConfigError("--oauth-provider github needs --oauth-secret-file: it asks for a secret")
    from bgtop.web.log_ins import LogIns, Registered
    from bgtop.web.oauth import github

    us = Registered(asked.id, asked.secret, options.oauth_scope)
    return LogIns(github(base, us, asked.rules))


def _by_addresses(
    authorize: str, options: argparse.Namespace, environ: Mapping[str, str]
) -> LogIns:
    token, userinfo = options.oauth_token_url, options.oauth_userinfo_url
    if "://" not in authorize:
        words = "expected github, github=https://HOST, or the https:// address where people agree"
        raise ConfigError(f"--oauth-provider {authorize}: {words}")
    if not (token and userinfo):
        words = "needs --oauth-token-url and --oauth-userinfo-url"
        raise ConfigError(f"--oauth-provider {authorize} {words}")
    given = [("--oauth-provider", authorize), ("--oauth-token-url", token)]
    given.append(("--oauth-userinfo-url", userinfo))
    asked = _asked(options, environ, "oauth", "email", given)
    from bgtop.web.log_ins import LogIns, Registered
    from bgtop.web.oauth import Oauth, Places, of_userinfo

    us = Registered(asked.id, asked.secret, options.oauth_scope)
    name = "{0.scheme}://{0.netloc}".format(urlsplit(authorize))
    places = Places(authorize, token, userinfo)
    return LogIns(Oauth(name, places, us, asked.rules, of_userinfo))


class _Asked(NamedTuple):
    """What both kinds of provider need."""

    id: str
    secret: str | None
    rules: Rules


def _asked(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    way: str,
    usual: str,
    addresses: list[tuple[str, str]],
) -> _Asked:
    """The options of this way, checked; ``usual`` is the claim unless one is named."""
    given = {name: getattr(options, f"{way}_{name}") for name in _COMMON}
    if not given["client_id"]:
        raise ConfigError(f"{_LEADING[way]} needs --{way}-client-id")
    claim: str = usual if given["claim"] is None else given["claim"]
    if not claim:
        raise ConfigError(f"--{way}-claim: expected the name of a claim, such as {usual}")
    for option, address in addresses:
        _check(option, address)
    from bgtop.web.credentials import BadCredentials, read_private
    from bgtop.web.vouched import rules_of

    try:
        rules = rules_of(way, claim, given["grant"])
        secret = environ.get(f"BGTOP_WEB_{way.upper()}_SECRET")
        if given["secret_file"]:
            secret = read_private(given["secret_file"], f"--{way}-secret-file").strip()
    except BadCredentials as fault:
        raise ConfigError(*fault.faults) from None
    return _Asked(given["client_id"], secret or None, rules)


def _check_unused(
    options: argparse.Namespace, way: str, about: tuple[str, ...], words: str
) -> None:
    """What is about a provider and there is none would be believed to keep people out."""
    given = [name for name in about if getattr(options, f"{way}_{name}") not in (None, [])]
    if given:
        named = ", ".join(f"--{way}-{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{named}: of no use{words}")


def _check(option: str, address: str) -> None:
    """What is not encrypted is believed of this machine only."""
    found = urlsplit(address)
    here = found.hostname in {"localhost", "127.0.0.1", "::1"}
    if not found.hostname or found.scheme not in ({"http", "https"} if here else {"https"}):
        gap = "" if option.endswith("=") else " "
        raise ConfigError(f"{option}{gap}{address}: expected https://…")
