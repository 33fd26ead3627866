"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final, NoReturn

from bgtop.config import Arguments, Config, load_config

_SOURCE_HELP: Final = (
    "a URL such as redis://localhost:6379/0 or sqlite:///jobs.db, "
    "or a profile of the configuration file"
)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class Help(argparse.RawDescriptionHelpFormatter):
    """Argparse's own, told how wide the terminal is: it would load compressors to find out."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def new_parser(
    prog: str,
    description: str,
    *,
    usage: str,
    epilog: str | None = None,
    kind: type[Parser] = Parser,
) -> Parser:
    """A parser with our habits: whole option names only, texts laid out as written."""
    return kind(
        prog=prog,
        usage=usage,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=Help,
    )


def positive(text: str) -> int:
    """A whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def add_sources(
    parser: argparse.ArgumentParser, *, interval: float = 5.0, cut: bool = True
) -> None:
    """``SOURCE…`` and everything that says which sources, queues and workers are read.

    ``cut``: also the options that leave rows out at the end of a list.
    """
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help=_SOURCE_HELP)
    add_reading(parser, interval=interval, cut=cut)


def add_acting(parser: argparse.ArgumentParser) -> None:
    """What commands that change something have in common."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_read_only(parser)
    add_display(parser)


def add_read_only(parser: argparse.ArgumentParser) -> None:
    """The option that refuses every change."""
    parser.add_argument(
        "--read-only",
        action="store_const",
        const="yes",
        help="change nothing (also: read_only in the configuration, BGTOP_READ_ONLY=1)",
    )


def add_reading(
    parser: argparse.ArgumentParser,
    *,
    interval: float = 5.0,
    cut: bool = True,
    rows: bool = True,
) -> None:
    """The same without ``SOURCE…``; without ``rows`` no option leaves any of them out."""
    reading = parser.add_argument_group("what is read")
    reading.add_argument("--backend", metavar="NAME", help="the one job system to read there")
    if not rows:
        return
    reading.add_argument(
        "--interval",
        dest="refresh_interval",
        metavar="S",
        help=f"seconds between two readings ({interval:g})",
    )
    reading.add_argument(
        "--dead-after", metavar="S", help="a worker without heartbeat for so long is dead (30)"
    )
    reading.add_argument(
        "--show-internal",
        action="store_const",
        const="yes",
        help="also queues the system keeps for itself",
    )
    reading.add_argument(
        "--events",
        action="store_const",
        const="yes",
        help="follow what happens to jobs from the start, not only where it is shown",
    )
    _add_rows(parser, cut=cut)


def _add_rows(parser: argparse.ArgumentParser, *, cut: bool) -> None:
    rows = parser.add_argument_group("what is shown")
    rows.add_argument(
        "--queue-filter", metavar="REGEX", help="only these queues; !REGEX: all others"
    )
    rows.add_argument(
        "--worker-filter", metavar="REGEX", help="only these workers; !REGEX: all others"
    )
    if cut:
        words = "at most so many rows; totals count all"
        rows.add_argument("--max-queues", metavar="N", help=words)
        rows.add_argument("--max-workers", metavar="N", help=words)


def add_display(parser: argparse.ArgumentParser) -> None:
    """Options about letters, colours, the configuration and faults."""
    group = parser.add_argument_group("general")
    group.add_argument(
        "--no-color", action="store_const", const="yes", help="no colours (as does NO_COLOR)"
    )
    group.add_argument("--ascii", action="store_const", const="yes", help="only ASCII letters")
    group.add_argument("--config", metavar="FILE", help="instead of ~/.bgtoprc")
    group.add_argument("--profile", metavar="NAME", help="a section of the configuration file")
    group.add_argument(
        "--verbose", action="store_true", help="show tracebacks of unexpected faults"
    )


def add_screen(parser: argparse.ArgumentParser) -> None:
    """Options about the live screen."""
    group = parser.add_argument_group("the screen")
    group.add_argument(
        "--renderer", metavar="NAME", help="what draws it: curses, rich, textual or plain"
    )
    words = "a column of the first table; largest first, !COL: the other way round"
    group.add_argument("--sort", metavar="COL", help=words)
    group.add_argument("--theme", metavar="NAME", help="its colours: default, light, night, ...")
    group.add_argument(
        "--no-mouse", action="store_const", const="yes", help="leave the mouse alone"
    )


_OPTION_KEYS: Final = (
    "backend",
    "refresh_interval",
    "dead_after",
    "show_internal",
    "events",
    "queue_filter",
    "worker_filter",
    "max_queues",
    "max_workers",
    "no_color",
    "ascii",
    "read_only",
    "no_mouse",
    "theme",
    "renderer",
    "sort",
)


def config_of(options: argparse.Namespace, *, need_source: bool = True) -> Config:
    """The settings of this run; raises :class:`bgtop.config.ConfigError`."""
    given = {key: getattr(options, key, None) for key in _OPTION_KEYS}
    arguments = Arguments(
        sources=getattr(options, "sources", ()),
        options={key: text for key, text in given.items() if text is not None},
        config=options.config,
        profile=options.profile,
    )
    return load_config(arguments, os.environ, need_source=need_source)


def complain(*lines: str) -> None:
    """Say it on standard error, in harmless letters."""
    from bgtop.view.text import clean

    for line in lines:
        # An indented line goes on with what the one above it says.
        sys.stderr.write(f"{'' if line.startswith(' ') else 'bgtop: '}{clean(line, 5000)}\n")
