"""Redis URLs: where a server is, how to log in, and how to show that without the password.

Accepted are ``redis://``, ``rediss://`` (TLS) and ``redis+socket://`` (unix socket), spelt as
redis-py and kombu spell them, so that the broker URL of an application can be pasted, and
``sentinel://h1:26379,h2:26379/0?master=NAME``. There TLS has switches of its own, as no scheme says
whether the servers have it, or the Sentinels: ``ssl=true``, ``sentinel_ssl=true``.
"""

from __future__ import annotations

from bgtop.backends.url_parts import (
    Tls,
    host_and_port,
    printable,
    query_options,
    switched_on,
    tls_options,
    user_and_password,
)
from bgworker.values import dataclass, field

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379

_OF_TLS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

__all__ = ["RedisAddress", "Sentinels", "Tls", "parse_redis_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """Who is asked which server is the master of this name, and how to log in to them."""

    places: tuple[tuple[str, int], ...]
    master: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None

    @property
    def nodes(self) -> tuple[RedisAddress, ...]:
        """The Sentinels one by one."""
        return tuple(
            RedisAddress(
                host=host,
                port=port,
                username=self.username,
                password=self.password,
                tls=self.tls,
                mode="sentinel",
                tls_switch="sentinel_ssl=true",
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
    tls_switch: str = "rediss://"
    """How TLS would be asked for, for messages."""

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
            switches = ("&ssl=true" if self.tls else "") + (
                "&sentinel_ssl=true" if self.sentinels.tls else ""
            )
            return f"sentinel://{login}{places}/{self.db}?master={self.sentinels.master}{switches}"
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
    options = query_options(query)
    username, password = user_and_password(login) if at else (None, None)
    if scheme == "redis+socket":
        if not slash or place:
            raise ValueError("a unix socket is written redis+socket:///path/to.sock?db=0")
        db = options.get("db", options.get("virtual_host", ""))
        return RedisAddress(
            path=printable("/" + path), db=_database(db), username=username, password=password
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
        tls=tls_options(options) if _wants_tls(scheme, options) else None,
        sentinels=sentinels,
        tls_switch="ssl=true" if sentinels else "rediss://",
    )


def _wants_tls(scheme: str, options: dict[str, str]) -> bool:
    return scheme == "rediss" or (scheme == "sentinel" and switched_on(options, "ssl"))


def _sentinels(places: str, options: dict[str, str]) -> Sentinels:
    master = options.get("master", "")
    if not places or not master:
        raise ValueError("a Sentinel URL is written sentinel://h1:26379,h2:26379/0?master=NAME")
    secret = switched_on(options, "sentinel_ssl")
    if not (secret or switched_on(options, "ssl")) and any(name in options for name in _OF_TLS):
        # Somebody who names certificates does not want the password to be sent in the clear.
        raise ValueError("TLS behind sentinel:// takes ssl=true (servers) or sentinel_ssl=true")
    return Sentinels(
        places=tuple(
            _host_and_port(place, DEFAULT_SENTINEL_PORT) for place in places.split(",") if place
        ),
        master=printable(master),
        username=options.get("sentinel_username"),
        password=options.get("sentinel_password"),
        tls=tls_options({**options, **_own_tls(options)}) if secret else None,
    )


def _own_tls(options: dict[str, str]) -> dict[str, str]:
    """What the Sentinels have besides the servers, or instead."""
    own = {name: options.get(f"sentinel_{name}") for name in _OF_TLS}
    return {name: value for name, value in own.items() if value is not None}


def _host_and_port(place: str, default: int = DEFAULT_PORT) -> tuple[str, int]:
    return host_and_port(place, "Redis", default)


def _database(text: str) -> int:
    """As a number; kombu also takes ``//`` (database 0) and ``//3``."""
    number = text.strip("/")
    if not number:
        return 0
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise ValueError("the database of a Redis URL is a number, as in redis://host:6379/0")
    return int(number)
