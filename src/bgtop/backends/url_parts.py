"""What the URLs of all brokers have in common: log-in, host and port, options, TLS."""

from __future__ import annotations

from bgworker.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to check the server: files are PEM; ``verify`` is off only when the URL says so."""

    verify: bool = True
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None


def decoded(text: str) -> str:
    """The text without percent-encoding."""
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def printable(text: str) -> str:
    """A decoded host or path; it is quoted in messages, which are one line."""
    place = decoded(text)
    if not place.isprintable():
        raise ValueError("the URL holds characters that cannot be printed")
    return place


def query_options(query: str) -> dict[str, str]:
    """The decoded options behind the question mark; the last of the same name counts."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {name: decoded(value) for name, _, value in pairs}


def user_and_password(login: str) -> tuple[str | None, str | None]:
    """A lone word before ``@`` is a user name, as redis-py and kombu read it."""
    username, colon, password = login.partition(":")
    return decoded(username) or None, decoded(password) if colon else None


def host_and_port(place: str, system: str, default: int) -> tuple[str, int]:
    """Where a server of this system is; ``localhost`` and ``default`` where nothing is said."""
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(f"an IPv6 address is written [::1] or [::1]:{default}")
        port = port[1:]
    else:
        host, _, port = place.partition(":")
    if not port:
        return printable(host) or "localhost", default
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        # Not quoted: in redis://:secret:6379 the "port" is a password that lost its @.
        raise ValueError(f"the port of a {system} URL is a number from 1 to 65535")
    return printable(host) or "localhost", int(port)


def switched_on(options: dict[str, str], name: str) -> bool:
    """Whether an option says yes; it says no where it is missing.

    Raises:
        ValueError: when it says something else.
    """
    word = options.get(name, "false").lower()
    if word not in {"true", "1", "yes", "false", "0", "no"}:
        raise ValueError(f"{name} is true or false")
    return word in {"true", "1", "yes"}


def tls_options(options: dict[str, str]) -> Tls:
    """How the options of a URL want the server's certificate to be checked."""
    requirement = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if requirement not in {"required", "optional", "none"}:
        raise ValueError("ssl_cert_reqs is required, optional or none")
    return Tls(
        verify=requirement != "none",
        ca_certs=options.get("ssl_ca_certs"),
        certfile=options.get("ssl_certfile"),
        keyfile=options.get("ssl_keyfile"),
    )
