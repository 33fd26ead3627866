"""Engines by URL; each is imported only when its scheme is used."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from bgworker.errors import BadUrl

if TYPE_CHECKING:
    from bgworker.clock import Clock
    from bgworker.contracts import Engine

_DURABILITY = {"full": True, "process": False}
_USE = "use sqlite:///jobs.db (or sqlite:////absolute/jobs.db)"


def open_engine(url: str, *, clock: Clock | None = None) -> Engine:
    """The engine a URL names; nothing is opened yet. ``clock`` is for tests.

    Raises:
        BadUrl: the scheme, the path or an option is not one we know.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from bgworker.engines.sqlite import SqliteEngine

        durable, network = _options(url)
        path = sqlite_path(url)
        return SqliteEngine(path, clock=clock, durable=durable, allow_network_fs=network)
    if scheme == "memory" and not rest:
        from bgworker.engines.memory import MemoryEngine

        return MemoryEngine(clock=clock)
    raise BadUrl(f"{_masked(url)!r} names no queue: {_USE}")


def sqlite_path(url: str) -> str:
    """The file of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, percent-decoded.

    Raises:
        BadUrl: it names no file, or has an option we do not know.
    """
    _options(url)
    host, slash, rest = url.partition("://")[2].partition("?")[0].partition("/")
    try:
        path = os.fsdecode(_unquoted(os.fsencode(rest)))
    except UnicodeEncodeError:
        path = ""
    if host or not slash or not path or path == ":memory:" or path.endswith("/") or "\0" in path:
        raise BadUrl(f"{_masked(url)!r} names no file: {_USE}")
    return path


def allows_network_fs(url: str) -> bool:
    """Whether the URL says that a file on a network file system is used by this machine only."""
    return _options(url)[1]


def absolute(url: str, folder: str) -> str:
    """The same queue's URL for a process in any folder; one that names no file stays as it is."""
    if not url.startswith("sqlite:"):
        return url
    try:
        path = os.path.join(folder, sqlite_path(url))
    except BadUrl:  # whoever opens it will say so
        return url
    options = url.partition("?")[1:]
    return f"sqlite:///{_quoted(path)}{''.join(options)}"


# Most URLs need none of ``urllib.parse``, which takes a tenth of the time to import all of us.


def _unquoted(path: bytes) -> bytes:
    if b"%" not in path:
        return path
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path)


def _quoted(path: str) -> str:
    if re.fullmatch(r"[\w/.~-]*", path, re.ASCII):
        return path
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(os.fsencode(path))


def _masked(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"(://[^/@]*?:)[^/@]*@", r"\1***@", url)


def _options(url: str) -> tuple[bool, bool]:
    """Whether commits are flushed, and whether network file systems are allowed."""
    query = url.partition("?")[2]
    if not query:
        return True, False
    from urllib.parse import parse_qsl

    options = dict(parse_qsl(query, keep_blank_values=True))
    chosen = options.pop("durability", "full")
    network = options.pop("allow_network_fs", "0")
    if options:
        known = "durability, allow_network_fs"
        raise BadUrl(f"{url!r}: unknown option {', '.join(sorted(options))}; known: {known}")
    if chosen not in _DURABILITY:
        raise BadUrl(f"{url!r}: durability={chosen!r} is not one of full, process")
    if network not in {"0", "1"}:
        raise BadUrl(f"{url!r}: allow_network_fs={network!r} is not one of 0, 1")
    return _DURABILITY[chosen], network == "1"
