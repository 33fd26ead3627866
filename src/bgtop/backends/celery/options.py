"""What an address says beside where the broker is: settings of the application we cannot read."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from bgworker.values import dataclass

if TYPE_CHECKING:
    from bgtop.backends.redis_url import RedisAddress

REDBEAT_PREFIX = "redbeat:"
"""The default of celery-redbeat."""

VISIBILITY_TIMEOUT = 3600.0
"""Kombu's own default, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Transport options as the application set them, and where its results are."""

    visibility_timeout: float = VISIBILITY_TIMEOUT
    fanout_prefix: str = "/{db}."
    """Before the name of a channel; kombu's default, and empty for ``fanout_prefix=False``."""
    result_backend: RedisAddress | None = None
    redbeat_key_prefix: str | None = None
    """Where celery-redbeat keeps its schedule, if the address says so."""
    ask_workers: bool = False
    """Whether workers may be sent messages to learn what they run, while somebody looks."""

    @property
    def schedule_key(self) -> bytes:
        """Where celery-redbeat keeps what is due when: another colon follows the prefix."""
        given = self.redbeat_key_prefix
        return f"{REDBEAT_PREFIX if given is None else given}:schedule".encode()

    def topic(self, db: int) -> bytes:
        """What stands in the name of a channel between the application's prefix and an exchange."""
        return self.fanout_prefix.replace("{db}", str(db)).encode()

    def event_topic(self, db: int) -> bytes:
        """The channel of worker events, but for the application's key prefix and a routing key."""
        return self.topic(db) + b"celeryev"


def read_options(url: str) -> Options:
    """The options of a URL; those of others, and of kombu that do not matter here, are ignored.

    Raises:
        ValueError: with one line that says what is wrong, and holds no password.
    """
    query = url.partition("#")[0].partition("?")[2]
    if not query:
        return Options()
    from urllib.parse import unquote

    pairs = (part.partition("=") for part in query.split("&"))
    given = {name: unquote(value) for name, _, value in pairs}
    default = Options()
    return Options(
        visibility_timeout=_seconds(given.get("visibility_timeout")),
        fanout_prefix=_fanout_prefix(given.get("fanout_prefix"), default.fanout_prefix),
        result_backend=_result_backend(given.get("result_backend")),
        redbeat_key_prefix=given.get("redbeat_key_prefix"),
        ask_workers=_switch(given.get("ask_workers")),
    )


def _seconds(text: str | None) -> float:
    if text is None:
        return VISIBILITY_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError("visibility_timeout is a number of seconds, as in visibility_timeout=3600")
    return seconds


def _switch(text: str | None) -> bool:
    if text is None or text.lower() in {"false", "0", "no", "off"}:
        return False
    if text.lower() in {"true", "1", "yes", "on"}:
        return True
    raise ValueError("ask_workers is yes or no")


def _fanout_prefix(text: str | None, default: str) -> str:
    """As kombu reads it: a switch, or the prefix itself with ``{db}`` in it."""
    if text is None or text.lower() in {"true", "1", "yes"}:
        return default
    return "" if text.lower() in {"false", "0", "no", ""} else text


def _result_backend(text: str | None) -> RedisAddress | None:
    if text is None:
        return None
    from bgtop.backends.redis_url import parse_redis_url

    try:
        return parse_redis_url(text)
    except ValueError as fault:
        raise ValueError(f"result_backend: {fault}") from None
