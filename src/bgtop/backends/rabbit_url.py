"""RabbitMQ URLs: where a broker and its management API are, shown without the password.

Accepted are ``amqp://``, ``pyamqp://`` and ``amqps://`` (TLS), spelt as kombu and pika do, so
that the broker URL of an application can be pasted.
"""

from __future__ import annotations

from bgtop.backends.url_parts import (
    Tls,
    decoded,
    host_and_port,
    printable,
    query_options,
    tls_options,
    user_and_password,
)
from bgworker.values import dataclass, field, replace

DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
MANAGEMENT_PORTS = {"http": 15672, "https": 15671}
LONGEST_NAME = 255
"""Bytes of a queue's name: what AMQP 0-9-1 calls a short string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementAddress:
    """Where the management API is; ``path`` stands before ``/api``."""

    host: str
    port: int
    path: str = ""
    username: str
    password: str = field(repr=False)
    tls: Tls | None = None
    guessed: bool = False
    """Nobody named it: its absence is no fault."""

    @property
    def place(self) -> str:
        """The address without its log-in, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitAddress:
    """Everything needed to log in to one vhost, and what the URL says beside that."""

    host: str = "localhost"
    port: int = DEFAULT_PORTS["amqp"]
    vhost: str = "/"
    username: str = "guest"
    password: str = field(default="guest", repr=False)
    tls: Tls | None = None
    management: ManagementAddress | None = None
    queues: tuple[str, ...] = ()
    """Queues the operator names, for where they cannot be listed."""

    @property
    def place(self) -> str:
        """Where it is, for messages: ``127.0.0.1:5672`` or ``[::1]:5672``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL, its password replaced by ``***``."""
        from urllib.parse import quote

        login = f"{quote(self.username, safe='')}:***@"
        return f"amqp{'s' if self.tls else ''}://{login}{self.place}/{quote(self.vhost, safe='')}"


def parse_rabbit_url(url: str) -> RabbitAddress:
    """Read the URL of one vhost; the one named ``/`` unless it says another.

    Raises:
        ValueError: with one line that says what is wrong and never holds the password.
    """
    scheme, found, rest = url.partition("://")
    scheme = scheme.removeprefix("py")
    if not found or scheme not in DEFAULT_PORTS:
        raise ValueError("a RabbitMQ URL begins with amqp://, amqps:// or pyamqp://")
    rest, _, query = rest.partition("#")[0].partition("?")
    authority, _, path = rest.partition("/")
    login, at, place = authority.rpartition("@")
    if "@" in path:
        raise ValueError("the characters / ? # in a password are written %2F %3F %23")
    if ";" in rest or "," in authority:
        raise ValueError("name one server; each further one is a source of its own")
    options = query_options(query)
    username, password = user_and_password(login) if at else (None, None)
    host, port = host_and_port(place, "RabbitMQ", DEFAULT_PORTS[scheme])
    address = RabbitAddress(
        host=host,
        port=port,
        vhost=printable(path) or "/",
        username=username or "guest",
        password="guest" if password is None else password,
        tls=tls_options(options) if scheme == "amqps" else None,
        queues=_queues(query),
    )
    return replace(address, management=_management(options.get("management"), address))


def _queues(query: str) -> tuple[str, ...]:
    """The names in ``queues=a,b``, each percent-decoded by itself, so that any may hold a comma."""
    given = [part.partition("=") for part in query.split("&")]
    words = [word for name, _, value in given if name == "queues" for word in value.split(",")]
    # RabbitMQ itself takes line ends out of names.
    plain = (decoded(word).replace("\r", "").replace("\n", "") for word in words)
    names = tuple(dict.fromkeys(name for name in plain if name))
    if any(len(name.encode("utf-8", "replace")) > LONGEST_NAME for name in names):
        raise ValueError(f"the name of a queue in RabbitMQ has at most {LONGEST_NAME} bytes")
    return names


def _management(given: str | None, broker: RabbitAddress) -> ManagementAddress | None:
    """What ``?management=`` says; without it, the usual place beside the broker."""
    if given in {"off", "no", "none"}:
        return None
    if not given:
        # A password that travels encrypted to the broker is not sent in the clear to the API.
        scheme = "https" if broker.tls else "http"
        return ManagementAddress(
            host=broker.host,
            port=MANAGEMENT_PORTS[scheme],
            username=broker.username,
            password=broker.password,
            tls=broker.tls,
            guessed=True,
        )
    scheme, found, rest = given.partition("://")
    if not found or scheme not in MANAGEMENT_PORTS:
        raise ValueError("management is http://host:15672, https://host:15671 or off")
    authority, slash, path = rest.partition("/")
    login, at, place = authority.rpartition("@")
    username, password = user_and_password(login) if at else (None, None)
    host, port = host_and_port(place, "management", MANAGEMENT_PORTS[scheme])
    return ManagementAddress(
        host=host,
        port=port,
        path=printable(slash + path).rstrip("/").removesuffix("/api"),
        username=username or broker.username,
        password=broker.password if password is None else password,
        tls=(broker.tls or Tls()) if scheme == "https" else None,
    )
