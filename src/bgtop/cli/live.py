"""``bgtop [SOURCE…]``: the live view, or one snapshot where there is no terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from bgtop import __version__
from bgtop.cli.commands import listed
from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import (
    Parser,
    add_display,
    add_read_only,
    add_screen,
    add_sources,
    complain,
    config_of,
    new_parser,
)
from bgtop.cli.terminal import is_interactive, look_of
from bgtop.contracts import NoTerminal
from bgtop.registry import load_renderer
from bgtop.session import Session

if TYPE_CHECKING:
    import argparse

    from bgtop.config import Config

_EPILOG: Final = """\
keys of the live view: press ? there
exit status: 0 done, 1 a source failed, 2 wrong usage or configuration, 130 interrupted
"""


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop",
        "See and steer background jobs from one screen. Without a terminal on its output,\n"
        "bgtop prints one plain-text snapshot.",
        usage="bgtop [SOURCE ...] [OPTIONS]\n       bgtop COMMAND ...",
        epilog=f"commands, given first (bgtop COMMAND --help says more):\n{listed()}\n{_EPILOG}",
    )
    add_sources(made)
    add_display(made)
    add_read_only(made)
    add_screen(made)
    made.add_argument("--version", action="version", version=f"bgtop {__version__}")
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Watch, or print once."""
    return watch(config_of(options), verbose=options.verbose)


def watch(config: Config, *, verbose: bool = False) -> int:
    """Show the configured sources until the user quits; the exit status."""
    if not is_interactive():
        return _print_once(config, verbose=verbose)
    feeds = open_feeds(config)
    try:
        renderer = load_renderer(config.renderer).open(look_of(config.look, os.environ))
    except NoTerminal as reason:
        complain(f"{reason}; one snapshot instead of the live view")
        return _print_once(config, verbose=verbose)
    faults = Faults()
    try:
        Session(feeds, renderer, config, report=faults.report).run()
    finally:
        renderer.close()
        if verbose:
            sys.stderr.write(str(faults))
    return 0


def _print_once(config: Config, *, verbose: bool) -> int:
    from bgtop.cli.snapshot import print_snapshot

    return print_snapshot(config, verbose=verbose)
