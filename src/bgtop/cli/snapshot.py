"""``bgtop snapshot``: one reading, or several for rates, for people and programs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_display, add_sources, new_parser, positive
from bgtop.cli.settings import complain, config_of
from bgtop.cli.terminal import look_of
from bgtop.oneshot import Wanted, take_frame
from bgtop.session import sorted_by
from bgtop.state.places import titles_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from datetime import datetime

    from bgtop.config import Config
    from bgtop.model import Frame

FORMATS: Final = ("text", "json", "csv")

ONE_SAMPLE: Final = Wanted()


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop snapshot",
        "Print one reading: the same data the live view shows.",
        usage="bgtop snapshot [SOURCE ...] [--format text|json|csv] [--samples N] [OPTIONS]",
    )
    made.add_argument("--format", choices=FORMATS, default="text", help="text unless given")
    made.add_argument(
        "--samples",
        type=positive,
        default=1,
        metavar="N",
        help="readings to take; from two on there are rates (1)",
    )
    add_sources(made, interval=ONE_SAMPLE.interval)
    add_display(made)
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Read and print."""
    config = config_of(options)
    wanted = Wanted(samples=options.samples, interval=interval_of(options, config))
    return print_snapshot(config, wanted, options.format, verbose=options.verbose)


def interval_of(options: argparse.Namespace, config: Config) -> float:
    """Seconds between two samples: a live view may be slow, somebody who waits should not."""
    return config.refresh_interval if options.refresh_interval else ONE_SAMPLE.interval


def print_snapshot(
    config: Config, wanted: Wanted = ONE_SAMPLE, form: str = "text", *, verbose: bool = False
) -> int:
    """Read the sources and print them; status 1 when one of them cannot be read."""
    faults = Faults()
    frame = take_frame(open_feeds(config), config, wanted, report=faults.report)
    failed = [source for source in frame.snapshot.sources if source.failure]
    if form != "text" or len(failed) < len(frame.snapshot.sources):
        print_frame(frame, config, form)
    titles = titles_of(frame.snapshot.sources)
    for source in failed:
        message = source.failure.message if source.failure else ""
        complain(f"{titles[source.key]}: {message}" if len(titles) > 1 else message)
    if verbose:
        sys.stderr.write(str(faults))
    return 1 if failed else 0


def print_frame(
    frame: Frame,
    config: Config,
    form: str = "text",
    moment: datetime | None = None,
    *,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Print it as text, JSON or CSV; ages are those of the moment, else of the last reading.

    ``beside`` are more keys of the JSON.
    """
    if form == "text":
        _print_page(frame, config, moment or frame.snapshot.taken_at)
        return
    if form == "json":
        from json import dumps

        from bgtop.view.document import document_of

        text = dumps({**document_of(frame), **(beside or {})}, indent=1) + "\n"
    else:
        from bgtop.view.sheets import sheets_of

        text = sheets_of(frame)
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def _print_page(frame: Frame, config: Config, moment: datetime) -> None:
    from bgtop.registry import load_renderer
    from bgtop.view.pages import page_of
    from bgtop.view.ui import Ui

    renderer = load_renderer("plain").open(look_of(config.look, os.environ))
    renderer.draw(page_of(frame, sorted_by(Ui(), config.sort), moment))
