"""Redis URLs: where a server is, how to log in, and how to show that without the password.

Accepted are ``redis://``, ``rediss://`` (TLS) and ``redis+socket://`` (unix socket), spelt as
redis-py and kombu spell them, so that the broker URL of an application can be pasted, and
``sentinel://h1:26379,h2:26379/0?master=NAME``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to check the server: files are PEM; ``verify`` is off only when the URL says so."""

    verify: bool = True
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """Who is asked which server is the master of this name, and how to log in to them."""

    places: tuple[tuple[str, int], ...]
    master: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def nodes(self) -> tuple[RedisAddress, ...]:
        """The Sentinels one by one."""
        return tuple(
            RedisAddress(
                host=host,
                port=port,
                username=self.username,
                password=self.password,
                mode="sentinel",
            )
            for host, port in self.places
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Everything needed to log in to one database of one server; ``path`` is a unix socket.

    With ``sentinels`` these say where the server is. ``mode`` is what the server has to be.
    """

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    sentinels: Sentinels | None = None
    mode: str = "standalone"

    @property
    def place(self) -> str:
        """Where it is, for messages: ``127.0.0.1:6379``, ``[::1]:6379`` or a socket's path."""
        if self.path is not None:
            return self.path
        if self.sentinels is not None:
            return self.sentinels.master
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
        if self.sentinels is not None:
            places = ",".join(node.place for node in self.sentinels.nodes)
            return f"sentinel://{login}{places}/{self.db}?master={self.sentinels.master}"
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{login}{self.place}/{self.db}"


def parse_redis_url(url: str) -> RedisAddress:
    """Read a Redis URL; the database is 0 unless named.

    Raises:
        ValueError: with one line that says what is wrong and never holds the password.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme not in {"redis", "rediss", "redis+socket", "sentinel"}:
        known = "redis://, rediss://, redis+socket:// or sentinel://"
        raise ValueError(f"a Redis URL begins with {known}")
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
    sentinels = _sentinels(place, options) if scheme == "sentinel" else None
    host, port = ("localhost", DEFAULT_PORT) if sentinels else _host_and_port(place)
    return RedisAddress(
        host=host,
        port=port,
        db=_database(path or options.get("db", "")),
        username=username,
        password=password,
        tls=_tls(options) if scheme == "rediss" else None,
        sentinels=sentinels,
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


def _sentinels(places: str, options: dict[str, str]) -> Sentinels:
    master = options.get("master", "")
    if not places or not master:
        raise ValueError("a Sentinel URL is written sentinel://h1:26379,h2:26379/0?master=NAME")
    return Sentinels(
        places=tuple(
            _host_and_port(place, DEFAULT_SENTINEL_PORT) for place in places.split(",") if place
        ),
        master=_place(master),
        username=options.get("sentinel_username"),
        password=options.get("sentinel_password"),
    )


def _host_and_port(place: str, default: int = DEFAULT_PORT) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("an IPv6 address is written [::1] or [::1]:6379")
        port = port[1:]
    else:
        host, _, port = place.partition(":")
    if not port:
        return _place(host) or "localhost", default
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
