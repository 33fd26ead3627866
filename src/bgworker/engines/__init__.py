"""Engines by URL; each is imported only when its scheme is used."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from bgworker.errors import BadUrl

if TYPE_CHECKING:
    from bgworker.contracts import Engine

_DURABILITY = {"full": True, "process": False}


def open_engine(url: str) -> Engine:
    """The engine a URL names; nothing is opened yet.

    Raises:
        BadUrl: the scheme, the path or an option is not one we know.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from bgworker.engines.sqlite import SqliteEngine

        return SqliteEngine(sqlite_path(url), durable=_durable(url))
    if scheme == "memory" and not rest:
        from bgworker.engines.memory import MemoryEngine

        return MemoryEngine()
    raise BadUrl(f"{url!r} names no queue: use sqlite:///jobs.db (or sqlite:////absolute/jobs.db)")


def sqlite_path(url: str) -> str:
    """The file of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, percent-decoded."""
    host, slash, rest = url.partition("://")[2].partition("?")[0].partition("/")
    path = unquote(rest)
    if host or not slash or not path or path == ":memory:" or path.endswith("/"):
        raise BadUrl(
            f"{url!r} names no file: use sqlite:///jobs.db (or sqlite:////absolute/jobs.db)"
        )
    return path


def _durable(url: str) -> bool:
    options = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    chosen = options.pop("durability", "full")
    if options:
        raise BadUrl(f"{url!r}: unknown option {', '.join(sorted(options))}; known: durability")
    if chosen not in _DURABILITY:
        raise BadUrl(f"{url!r}: durability={chosen!r} is not one of full, process")
    return _DURABILITY[chosen]
