"""``bgtop [SOURCE…]``: the live view, or one snapshot where there is no terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import complain
from bgtop.cli.terminal import is_interactive, look_of
from bgtop.contracts import NoTerminal
from bgtop.registry import load_renderer
from bgtop.session import Session

if TYPE_CHECKING:
    from bgtop.config import Config


def watch(config: Config, *, verbose: bool = False) -> int:
    """Show the configured sources until the user quits; the exit status."""
    if not is_interactive():
        return _print_once(config, verbose=verbose)
    feeds = open_feeds(config)
    try:
        renderer = load_renderer("curses").open(look_of(config.look, os.environ))
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
