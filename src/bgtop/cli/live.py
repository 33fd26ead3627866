"""``bgtop [SOURCE…]``: the live view, or one snapshot where there is no terminal."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from bgtop import __version__
from bgtop.cli.commands import listed
from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.settings import complain, config_of
from bgtop.cli.terminal import is_interactive, look_of
from bgtop.contracts import NoTerminal
from bgtop.registry import check_renderer, load_renderer
from bgtop.session import Session

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from bgtop.actions import Performed
    from bgtop.audit import AuditLog
    from bgtop.cli.options import Parser
    from bgtop.config import Config
    from bgtop.history_file import HistoryFile

_EPILOG: Final = """\
keys of the live view: press ? there
exit status: 0 done, 1 a source failed, 2 wrong usage or configuration, 130 interrupted
"""


def parser(_: str) -> Parser:
    """What reads the arguments where :mod:`bgtop.cli.quick` leaves them to argparse."""
    from bgtop.cli.options import add_display, add_read_only, add_screen, add_sources, new_parser

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
        check_renderer(config.renderer)
        return _print_once(config, verbose=verbose)
    feeds = open_feeds(config)
    try:
        renderer = load_renderer(config.renderer).open(look_of(config.look, os.environ))
    except NoTerminal as reason:
        complain(f"{reason}; one snapshot instead of the live view")
        return _print_once(config, verbose=verbose)
    faults = Faults(_log(os.environ) if verbose else None)
    audit = _Audit(config, faults)
    try:
        Session(
            feeds,
            renderer,
            config,
            report=faults.report,
            permit=audit.permit,
            audit=audit.write,
            history=(lambda: _history(config)) if config.history else None,
            detail=verbose,
        ).run()
    finally:
        renderer.close()
        audit.close()
        if verbose:
            sys.stderr.write(str(faults))
    return 0


def _log(environ: Mapping[str, str]) -> str:
    from bgtop.audit import default_path

    return default_path(environ, "bgtop.log")


def _history(config: Config) -> HistoryFile:
    """The last hour of just these sources and rows: others would have other sums."""
    from bgtop.audit import default_path
    from bgtop.history_file import HistoryFile, path_for
    from bgtop.source_url import redacted

    filters = (config.queue_filter, config.worker_filter)
    about = "\n".join(
        [
            *(f"{spec.name} {spec.backend or ''} {redacted(spec.url)}" for spec in config.sources),
            *(f"{one.pattern.pattern} {one.inverse}" if one else "" for one in filters),
            f"{config.show_internal}",
        ]
    )
    path = path_for(default_path(os.environ, "history"), config.sources[0].name, about)
    return HistoryFile(
        path, about=about, most=config.history_size, interval=config.refresh_interval
    )


class _Audit:
    """The audit log, opened before the first thing is done: who only watches needs none."""

    def __init__(self, config: Config, faults: Faults) -> None:
        self._config = config
        self._faults = faults
        self._open = ExitStack()
        self._log: AuditLog | None = None
        self._ready = False

    def permit(self) -> str | None:
        """Why nothing may be done: what cannot be written down is not done."""
        from bgtop.audit import AuditError
        from bgtop.cli.auditing import audit_log

        if not self._ready:
            try:
                opening = audit_log(self._config, os.environ, by="screen")
                self._log = self._open.enter_context(opening)
            except AuditError as fault:
                return str(fault)
            self._ready = True
        return None

    def write(self, performed: Performed) -> None:
        """Add a line. It is done already: a fault is told at the end, and stops what follows."""
        from bgtop.audit import AuditError

        if self._log is None:
            return
        try:
            self._log.write(performed)
        except AuditError as fault:
            self._faults.report(str(fault))
            self.close()

    def close(self) -> None:
        """Close the file, if it was opened; what is done after it opens it again, or is refused."""
        self._open.close()
        self._log = None
        self._ready = False


def _print_once(config: Config, *, verbose: bool) -> int:
    from bgtop.cli.snapshot import print_snapshot

    return print_snapshot(config, verbose=verbose)
