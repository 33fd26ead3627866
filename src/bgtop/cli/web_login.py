"""The options of ``bgtop web`` about an OpenID provider, which logs people in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bgtop.config import ConfigError
from bgtop.registry import PluginError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from bgtop.cli.options import Parser
    from bgtop.web.oidc import Oidc

_HINT: Final = "--oidc-issuer needs more than bgtop: pip install 'bgtop[oidc]'"
_CLAIM: Final = "email"
_NEEDED: Final = frozenset({"authlib", "joserfc", "requests"})


def add_login(made: Parser) -> None:
    """Add them."""
    login = made.add_argument_group("who an OpenID provider may let in")
    words = "the provider; its address as it writes it itself"
    login.add_argument("--oidc-issuer", metavar="URL", help=words)
    login.add_argument("--oidc-client-id", metavar="ID", help="what this server is called there")
    words = "its secret there, if it has one; only its owner may read the file"
    login.add_argument("--oidc-secret-file", metavar="FILE", help=words)
    words = "what people are known by: email (default; verified), groups or another claim"
    login.add_argument("--oidc-claim", metavar="NAME", help=words)
    words = (
        "who may enter: VALUE=ROLE[,source=GLOB][,queue=GLOB]; VALUE is a pattern, the first fits"
    )
    login.add_argument("--oidc-grant", metavar="GRANT", action="append", default=[], help=words)


def login_of(options: argparse.Namespace, environ: Mapping[str, str]) -> Oidc | None:
    """What the options ask for; ``None`` without a provider, and then nothing is imported.

    Raises :class:`ConfigError`, and :class:`PluginError` where the libraries are missing.
    """
    issuer: str | None = options.oidc_issuer
    if issuer is None:
        _check_nothing_else(options)
        return None
    if not options.oidc_client_id:
        raise ConfigError("--oidc-issuer needs --oidc-client-id")
    claim: str = _CLAIM if options.oidc_claim is None else options.oidc_claim
    if not claim:
        raise ConfigError("--oidc-claim: expected the name of a claim, such as groups")
    _check(issuer)
    from bgtop.web.credentials import BadCredentials, read_private
    from bgtop.web.oidc_grants import rules_of

    try:
        rules = rules_of(claim, options.oidc_grant)
        secret = environ.get("BGTOP_WEB_OIDC_SECRET")
        if options.oidc_secret_file:
            secret = read_private(options.oidc_secret_file, "--oidc-secret-file").strip()
    except BadCredentials as fault:
        raise ConfigError(*fault.faults) from None
    try:
        from bgtop.web.oidc import Oidc, Provider
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] in _NEEDED:
            raise PluginError(_HINT) from None
        raise
    return Oidc(Provider(issuer, options.oidc_client_id, secret or None, rules))


def _check_nothing_else(options: argparse.Namespace) -> None:
    """What is about a provider and there is none would be believed to keep people out."""
    about = ("client_id", "secret_file", "claim", "grant")
    given = [name for name in about if getattr(options, f"oidc_{name}") not in (None, [])]
    if given:
        named = ", ".join(f"--oidc-{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{named}: of no use without a provider; add --oidc-issuer URL")


def _check(issuer: str) -> None:
    """What is not encrypted is believed of this machine only."""
    found = urlsplit(issuer)
    here = found.hostname in {"localhost", "127.0.0.1", "::1"}
    if not found.hostname or found.scheme not in ({"http", "https"} if here else {"https"}):
        raise ConfigError(f"--oidc-issuer {issuer}: expected https://…")
