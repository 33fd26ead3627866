"""The options that several commands share, each one line of a table that all readers go by.

Two read command lines: argparse, which knows help and words for every fault, and :mod:`quick`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Option(NamedTuple):
    """``word`` sets ``key``: to the word that follows, called ``value``, or to ``given``."""

    word: str
    key: str
    value: str | None
    help: str
    given: str | bool = "yes"

    @property
    def not_given(self) -> bool | None:
        """What the key is without it."""
        return False if self.given is True else None


SOURCES: Final = "sources"
SOURCES_HELP: Final = (
    "a URL such as redis://localhost:6379/0 or sqlite:///jobs.db, "
    "or a profile of the configuration file"
)

BACKEND: Final = Option("--backend", "backend", "NAME", "the one job system to read there")

READING: Final = (
    Option("--interval", "refresh_interval", "S", "seconds between two readings ({interval:g})"),
    Option(
        "--dead-after", "dead_after", "S", "a worker without heartbeat for so long is dead (30)"
    ),
    Option("--show-internal", "show_internal", None, "also queues the system keeps for itself"),
    Option(
        "--events",
        "events",
        None,
        "follow what happens to jobs from the start, not only where it is shown",
    ),
)

FILTERS: Final = (
    Option("--queue-filter", "queue_filter", "REGEX", "only these queues; !REGEX: all others"),
    Option("--worker-filter", "worker_filter", "REGEX", "only these workers; !REGEX: all others"),
)

_CUT: Final = "at most so many rows; totals count all"
LIMITS: Final = (
    Option("--max-queues", "max_queues", "N", _CUT),
    Option("--max-workers", "max_workers", "N", _CUT),
)

DISPLAY: Final = (
    Option("--no-color", "no_color", None, "no colours (as does NO_COLOR)"),
    Option("--ascii", "ascii", None, "only ASCII letters"),
    Option("--config", "config", "FILE", "instead of ~/.bgtoprc"),
    Option("--profile", "profile", "NAME", "a section of the configuration file"),
    Option(
        "--verbose",
        "verbose",
        None,
        "say more of each source; show tracebacks of unexpected faults",
        given=True,
    ),
)

READ_ONLY: Final = Option(
    "--read-only",
    "read_only",
    None,
    "change nothing (also: read_only in the configuration, BGTOP_READ_ONLY=1)",
)

SCREEN: Final = (
    Option("--renderer", "renderer", "NAME", "what draws it: curses, rich, textual or plain"),
    Option(
        "--sort",
        "sort",
        "COL",
        "a column of the first table; largest first, !COL: the other way round",
    ),
    Option("--theme", "theme", "NAME", "its colours: default, light, night, ..."),
    Option("--no-mouse", "no_mouse", None, "leave the mouse alone"),
)

LIVE: Final = (BACKEND, *READING, *FILTERS, *LIMITS, *DISPLAY, READ_ONLY, *SCREEN)
"""Those of the live view."""
