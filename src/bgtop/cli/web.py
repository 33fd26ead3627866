"""``bgtop web``: the pages for browsers, and the interface for programs."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_display, add_read_only, add_sources, new_parser
from bgtop.cli.settings import complain, config_of
from bgtop.cli.web_login import add_login, login_of
from bgtop.config import ConfigError
from bgtop.contracts import ExportSettings
from bgtop.registry import PluginError, load_exporter, metrics_page

if TYPE_CHECKING:
    import argparse

    from bgtop.audit import AuditLog
    from bgtop.config import Config
    from bgtop.contracts import MetricsPage
    from bgtop.web.credentials import Account, Accounts
    from bgtop.web.listen import Address
    from bgtop.web.log_ins import LogIns

_EPILOG: Final = """\
roles: viewer (sees), admin (everything),
       operator (retry, cancel, requeue, pause, resume, suspend, wake)
environment: BGTOP_WEB_BASIC_AUTH has the USER:PASSWORD that should not be on a command line
             BGTOP_WEB_OIDC_SECRET the secret of --oidc-client-id
             BGTOP_WEB_OAUTH_SECRET the secret of --oauth-client-id
exit status: 0 ended by a signal, 1 cannot listen or write the audit log, 2 wrong usage
"""
_HINT: Final = "bgtop web needs more than bgtop: pip install 'bgtop[web]'"


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop web",
        "Serve pages for browsers, and an interface for programs below /api/v1/. It changes\n"
        "nothing unless it is started with --allow-control and somebody has logged in.",
        usage="bgtop web [SOURCE ...] [--listen HOST:PORT|unix:PATH] [--allow-control] [OPTIONS]",
        epilog=_EPILOG,
    )
    words = "where to listen (127.0.0.1:5555); port 0 takes a free one"
    made.add_argument("--listen", metavar="ADDRESS", default="127.0.0.1:5555", help=words)
    words = "where the pages are below a proxy, such as /bgtop"
    made.add_argument("--url-prefix", metavar="PATH", default="", help=words)
    words = "serve /metrics for Prometheus as well; it follows events"
    made.add_argument("--metrics", action="store_true", help=words)
    words = "also the names of flower,celery-exporter,rq-exporter, on /metrics"
    made.add_argument("--compat", metavar="NAMES", default="", help=words)
    _add_safety(made)
    add_login(made)
    add_sources(made)
    add_read_only(made)
    add_display(made)
    return made


def _add_safety(made: Parser) -> None:
    safety = made.add_argument_group("who may do what")
    words = "let those who have logged in change things, by their roles"
    safety.add_argument("--allow-control", action="store_true", help=words)
    words = "somebody who may log in, as admin; also the hash of --hash-password"
    safety.add_argument(
        "--basic-auth", metavar="USER:PASSWORD", action="append", default=[], help=words
    )
    words = "another role for a user: USER=ROLE[,source=GLOB][,queue=GLOB]"
    safety.add_argument("--grant", metavar="GRANT", action="append", default=[], help=words)
    words = "tokens and users, hashed; only its owner may read it"
    safety.add_argument("--token-file", metavar="FILE", help=words)
    words = "make a token for NAME or NAME=ROLE[,queue=GLOB], add it to the file, print it, end"
    safety.add_argument("--add-token", metavar="NAME", help=words)
    words = "read a password from standard input, print its hash, end"
    safety.add_argument("--hash-password", action="store_true", help=words)
    words = "a proxy in front of it speaks TLS, and says who asks (X-Forwarded-For)"
    safety.add_argument("--behind-proxy", action="store_true", help=words)
    safety.add_argument("--tls-cert", metavar="FILE", help="the certificate, to speak TLS itself")
    safety.add_argument("--tls-key", metavar="FILE", help="its key")


def run(_: str, options: argparse.Namespace) -> int:
    """Serve until a signal comes; the exit status."""
    if options.hash_password:
        return _hash_password()
    if options.add_token is not None:
        return _add_token(options)
    config = config_of(options)
    try:
        return _run(config, options)
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] in {"starlette", "uvicorn", "jinja2"}:
            raise PluginError(_HINT) from None
        raise


def _run(config: Config, options: argparse.Namespace) -> int:
    import starlette  # noqa: F401 - before anything is opened: it may not be installed
    import uvicorn  # noqa: F401

    from bgtop.audit import AuditError

    prefix = _prefix(options.url_prefix)
    log_ins = login_of(options, os.environ)
    accounts = _accounts(options, elsewhere=log_ins is not None)
    address = _address(options, accounts)
    control = options.allow_control and not config.read_only
    if control and not accounts:
        words = "--token-file, --basic-auth, --oidc-issuer or --oauth-provider"
        raise ConfigError(f"--allow-control needs credentials: {words}")
    with ExitStack() as open_:
        try:
            plan = _Plan(options, config, accounts, address, prefix, control, log_ins)
            return _serve(plan, open_)
        except AuditError as fault:
            complain(str(fault))
        except OSError as fault:
            complain(f"--listen {address}: {(fault.strerror or str(fault)).lower()}")
    return 1


class _Plan(NamedTuple):
    """What was asked for, checked."""

    options: argparse.Namespace
    config: Config
    accounts: Accounts
    address: Address
    prefix: str
    control: bool
    log_ins: LogIns | None


def _serve(plan: _Plan, open_: ExitStack) -> int:
    from bgtop.web.app import app_of
    from bgtop.web.auth import Doors, Gate
    from bgtop.web.hub import Hub
    from bgtop.web.live import Live
    from bgtop.web.metrics import Metrics
    from bgtop.web.seen import Seen
    from bgtop.web.server import Tls, serve
    from bgtop.web.site import Site

    options, config = plan.options, plan.config
    audit = _audit(plan, open_)
    page = _metrics_page(options)
    faults = Faults()
    seen = Seen(config.redact) if config.events else None
    live = Live(open_feeds(config), config, report=faults.report, seen=seen)
    hub = Hub(live, config.interest, control=plan.control)
    tls = Tls(options.tls_cert, options.tls_key) if options.tls_cert else None
    doors = Doors(plan.prefix, behind_proxy=options.behind_proxy, tls=tls is not None)
    metrics = None if page is None else Metrics(page, live, config.interest)
    site = Site(hub, Gate(plan.accounts, doors), audit, plan.control, _say)
    app = app_of(site, metrics, plan.log_ins)

    def ready(where: str) -> None:
        live.start()
        shown = where if plan.address.path else f"http{'s' if tls else ''}://{where}{plan.prefix}/"
        _say(f"listening on {shown}{'' if plan.control else ', read-only'}")

    try:
        any_host = options.behind_proxy
        serve(app, hub, plan.address, tls=tls, any_host=any_host, report=_say, ready=ready)
    finally:
        live.close()
        if options.verbose:
            sys.stderr.write(str(faults))
    return 0


def _metrics_page(options: argparse.Namespace) -> MetricsPage | None:
    compat = tuple(name.strip() for name in options.compat.split(",") if name.strip())
    if not options.metrics:
        if compat:
            raise ConfigError("--compat is about /metrics, and needs --metrics")
        return None
    try:
        return metrics_page(load_exporter("prometheus"), ExportSettings(compat=compat))
    except ValueError as fault:
        raise ConfigError(str(fault)) from None


def _audit(plan: _Plan, open_: ExitStack) -> AuditLog | None:
    """What cannot be written down is not done; a server that only shows may have no disk."""
    from bgtop.audit import AuditError
    from bgtop.cli.auditing import audit_log

    try:
        return open_.enter_context(audit_log(plan.config, os.environ, by="web"))
    except AuditError as fault:
        if plan.control:
            raise
        _say(f"{fault}; log-ins and refusals are told here only")
        return None


def _say(text: str) -> None:
    """A line for whoever reads the log of this server, in harmless letters."""
    complain(*text.splitlines())
    sys.stderr.flush()


def _prefix(text: str) -> str:
    path = "/" + text.strip("/") if text.strip("/") else ""
    if not all(letter.isascii() and (letter.isalnum() or letter in "/._~-") for letter in path):
        raise ConfigError("--url-prefix: expected a path such as /bgtop")
    if ".." in path.split("/") or "//" in path:
        raise ConfigError("--url-prefix: expected a path such as /bgtop")
    return path


def _accounts(options: argparse.Namespace, *, elsewhere: bool) -> Accounts:
    from bgtop.web.credentials import (
        Accounts,
        BadCredentials,
        account_of_option,
        read_file,
        with_grants,
    )

    texts = [*options.basic_auth, *filter(None, [os.environ.get("BGTOP_WEB_BASIC_AUTH")])]
    try:
        people: list[Account] = with_grants([account_of_option(t) for t in texts], options.grant)
        others = read_file(options.token_file) if options.token_file else []
        return Accounts([*people, *others], elsewhere=elsewhere)
    except BadCredentials as fault:
        raise ConfigError(*fault.faults) from None


def _address(options: argparse.Namespace, accounts: Accounts) -> Address:
    from bgtop.web.listen import BadAddress, address_of, check_exposure

    if bool(options.tls_cert) != bool(options.tls_key):
        raise ConfigError("--tls-cert and --tls-key go together")
    encrypted = bool(options.tls_cert) or options.behind_proxy
    try:
        address = address_of(options.listen)
        check_exposure(address, credentials=bool(accounts), encrypted=encrypted)
    except BadAddress as fault:
        raise ConfigError(str(fault)) from None
    return address


def _hash_password() -> int:
    from bgtop.web.credentials import hash_of_password

    if sys.stdin.isatty():
        from getpass import getpass

        password = getpass()
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        complain("no password was given")
        return 2
    sys.stdout.write(f"{hash_of_password(password)}\n")
    return 0


def _add_token(options: argparse.Namespace) -> int:
    from bgtop.web.credentials import BadCredentials, add_token

    if options.token_file is None:
        raise ConfigError("--add-token needs --token-file")
    try:
        token = add_token(options.token_file, options.add_token)
    except BadCredentials as fault:
        raise ConfigError(*fault.faults) from None
    complain("this is shown once:")
    sys.stdout.write(f"{token}\n")
    return 0
