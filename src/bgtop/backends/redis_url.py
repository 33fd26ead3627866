"""Redis URLs: where a server is, how to log in, and how to show that without the password.

Accepted are ``redis://``, ``rediss://`` (TLS) and ``redis+socket://`` (unix socket), spelt as
redis-py and kombu spell them, so that the broker URL of an application can be pasted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to check the server: files are PEM; ``verify`` is off only when the URL says so."""

    verify: bool = True
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Everything needed to log in to one database of one server; ``path`` is a unix socket."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None

    @property
    def place(self) -> str:
        """Where it is, for messages: ``127.0.0.1:6379``, ``[::1]:6379`` or a socket's path."""
        if self.path is not None:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL, its password replaced by ``***``."""
        login = self.username or ""
        login += ":***" if self.password is not None else ""
        login += "@" if login else ""
        if self.path is not None:
            return f"redis+socket://{login}{self.path}?db={self.db}"
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{login}{self.place}/{self.db}"


def parse_redis_url(url: str) -> RedisAddress:
    """Read a Redis URL; the database is 0 unless named.

    Raises:
        ValueError: with one line that says what is wrong and never holds the password.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme not in {"redis", "rediss", "redis+socket"}:
        raise ValueError("a Redis URL begins with redis://, rediss:// or redis+socket://")
    rest, _, query = rest.partition("#")[0].partition("?")
    authority, slash, path = rest.partition("/")
    login, at, place = authority.rpartition("@")
    options = _options(query)
    username, password = _login(login) if at else (None, None)
    if scheme == "redis+socket":
        if not slash or place:
            raise ValueError("a unix socket is written redis+socket:///path/to.sock?db=0")
        db = options.get("db", options.get("virtual_host", ""))
        return RedisAddress(
            path=_place("/" + path), db=_database(db), username=username, password=password
        )
    if "@" in path:
        raise ValueError("the characters / ? # in a password are written %2F %3F %23")
    host, port = _host_and_port(place)
    return RedisAddress(
        host=host,
        port=port,
        db=_database(path or options.get("db", "")),
        username=username,
        password=password,
        tls=_tls(options) if scheme == "rediss" else None,
    )


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def _place(text: str) -> str:
    """A decoded host or path; it is quoted in messages, which are one line."""
    place = _decode(text)
    if not place.isprintable():
        raise ValueError("the URL holds characters that cannot be printed")
    return place


def _options(query: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {name: _decode(value) for name, _, value in pairs}


def _login(text: str) -> tuple[str | None, str | None]:
    """A lone word before ``@`` is a user name, as redis-py reads it."""
    username, colon, password = text.partition(":")
    return _decode(username) or None, _decode(password) if colon else None


def _host_and_port(place: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("an IPv6 address is written [::1] or [::1]:6379")
        port = port[1:]
    else:
        host, _, port = place.partition(":")
    if not port:
        return _place(host) or "localhost", DEFAULT_PORT
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        # Not quoted: in redis://:secret:6379 the "port" is a password that lost its @.
        raise ValueError("the port of a Redis URL is a number from 1 to 65535")
    return _place(host) or "localhost", int(port)


def _database(text: str) -> int:
    """As a number; kombu also takes ``//`` (database 0) and ``//3``."""
    number = text.strip("/")
    if not number:
        return 0
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise ValueError("the database of a Redis URL is a number, as in redis://host:6379/0")
    return int(number)


def _tls(options: dict[str, str]) -> Tls:
    requirement = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if requirement not in {"required", "optional", "none"}:
        raise ValueError("ssl_cert_reqs is required, optional or none")
    return Tls(
        verify=requirement != "none",
        ca_certs=options.get("ssl_ca_certs"),
        certfile=options.get("ssl_certfile"),
        keyfile=options.get("ssl_keyfile"),
    )
