"""Redis URLs: where a server is, how to log in, and how to show that without the password.

Accepted are ``redis://``, ``rediss://`` (TLS) and ``redis+socket://`` (unix socket), spelt as
redis-py and kombu spell them, so that the broker URL of an application can be pasted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bgtop.backends.url_parts import (
    Tls,
    host_and_port,
    printable,
    query_options,
    tls_options,
    user_and_password,
)

DEFAULT_PORT = 6379

__all__ = ["RedisAddress", "Tls", "parse_redis_url"]


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
    host, port = host_and_port(place, "Redis", DEFAULT_PORT)
    return RedisAddress(
        host=host,
        port=port,
        db=_database(path or options.get("db", "")),
        username=username,
        password=password,
        tls=tls_options(options) if scheme == "rediss" else None,
    )


def _database(text: str) -> int:
    """As a number; kombu also takes ``//`` (database 0) and ``//3``."""
    number = text.strip("/")
    if not number:
        return 0
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise ValueError("the database of a Redis URL is a number, as in redis://host:6379/0")
    return int(number)
