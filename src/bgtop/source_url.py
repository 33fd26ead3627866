"""URLs of sources: what to call them, and how to show them without their secrets."""

from __future__ import annotations

import re
from typing import Any, Final

_LOGIN: Final = re.compile(r"(?s)(?<=://)([^@/?#]*?):.*@")
_LOGIN_IN_TEXT: Final = re.compile(r"(?<=://)([^@/?#\s]*?):\S*@")
_SECRET: Final = re.compile(r"(?i)([?&](?:\w+_)?(?:password|passwd|secret|token)=)[^&#\s]*")


def scheme_of(url: str) -> str:
    """The scheme of a URL; empty when the text is none."""
    scheme, sign, _ = url.partition("://")
    return scheme.lower() if sign else ""


def is_rabbitmq(url: str) -> bool:
    """Whether this is the URL of a RabbitMQ, by one of the schemes kombu and pika give it."""
    return scheme_of(url) in {"amqp", "amqps", "pyamqp"}


def redacted(url: str) -> str:
    """The URL with ``***`` for every password."""
    return _SECRET.sub(r"\1***", _LOGIN.sub(r"\1:***@", url))


def redacted_in(text: str) -> str:
    """A message without the passwords of any URL in it."""
    return _SECRET.sub(r"\1***", _LOGIN_IN_TEXT.sub(r"\1:***@", text))


def name_of(url: str) -> str:
    """A short name for a source: ``host:6379/0``, or the file of a database."""
    _, _, place = url.partition("://")
    place = place.partition("#")[0]
    place, _, query = place.partition("?")
    place = place.rpartition("@")[2]
    master = re.search(r"(?:^|&)master=([^&]+)", query)
    if master and "sentinel" in scheme_of(url):
        # One name for the group, whoever of it is master.
        return f"{master[1]}/{place.partition('/')[2] or 0}"
    if place.startswith("/"):
        # A path: the file says more than the folders above it.
        place = place.rstrip("/").rpartition("/")[2]
        database = re.search(r"(?:^|&)db=(\d+)", query)
        return f"{place}/{database[1]}" if database else place
    return place.rstrip("/") or "localhost"


def port_fault(url: str) -> str | None:
    """What is wrong with a port of this URL, which names several places for sentinels.

    The port is not repeated: after a password with a slash in it, it is the password's beginning.
    """
    places = re.split("[/?#]", url.partition("://")[2])[0].rpartition("@")[2]
    for place in places.split(","):
        port = place.rpartition("]")[2].rpartition(":")[2] if ":" in place else ""
        if port and not (port.isdecimal() and 0 < int(port) < 65_536):
            return "the port is not a number from 1 to 65535"
    return None


def url_of(backend: str, url: str, options: tuple[tuple[str, str], ...] = ()) -> str:
    """The URL of a system that was found at the URL of a broker."""
    place, sign, fragment = url.partition("#")
    if options:
        from urllib.parse import quote

        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in options)
        place += f"{'&' if '?' in place else '?'}{pairs}"
    return f"{backend}+{place}{sign}{fragment}"


def redis_url(values: dict[str, Any]) -> str:
    """The URL that the ``redis_*`` keys describe."""
    from urllib.parse import quote

    login = quote(values.get("redis_username") or "", safe="")
    if values.get("redis_password"):
        login += ":" + quote(values["redis_password"], safe="")
    host = values.get("redis_host", "localhost")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    place = f"{host}:{values.get('redis_port', 6379)}/{values.get('redis_db', 0)}"
    return f"redis://{login}@{place}" if login else f"redis://{place}"
