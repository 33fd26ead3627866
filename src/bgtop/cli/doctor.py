"""``bgtop doctor``: what is not well, what shows it, and the command that mends it."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_display, add_sources, new_parser, real
from bgtop.cli.settings import config_of
from bgtop.cli.who_takes import asked
from bgtop.following import Following
from bgtop.model import Severity
from bgtop.oneshot import Wanted
from bgtop.state.findings import Case, findings_of
from bgtop.view.text import clean
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.config import Config
    from bgtop.model import Frame

_SPAN: Final = 6.0
"""Seconds to look: workers of Celery are heard three times meanwhile."""

_SECONDS_TO_FIND: Final = 5.0
"""More, if a short look does not even show which queues and workers there are."""

_INTERVAL: Final = 1.0
_MOST_FRAMES: Final = 120


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop doctor",
        "Look for what is wrong, with evidence and what mends it. Nothing is changed.",
        usage="bgtop doctor [SOURCE ...] [--for S] [--format text|json] [OPTIONS]",
        epilog="exit status: 0 nothing that is an error, 1 an error was found, 2 wrong usage\n",
    )
    made.add_argument("--format", choices=("text", "json"), default="text", help="text or JSON")
    words = f"seconds to look: what grows, and what is not heard, takes its time ({_SPAN:g})"
    made.add_argument("--for", dest="span", type=_seconds, default=_SPAN, metavar="S", help=words)
    add_sources(made, interval=_INTERVAL, cut=False)
    add_display(made)
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Look, judge and print; status 1 if there is an error among the findings."""
    config = config_of(options)
    interval = config.refresh_interval if options.refresh_interval else _INTERVAL
    faults = Faults()
    frames = _looked(config, interval, options.span, faults)
    cases = findings_of(frames)
    if options.format == "json":
        from json import dumps

        from bgtop.view.finding_records import document_of_findings

        text = dumps(document_of_findings(frames[-1], cases), indent=1) + "\n"
    else:
        text = _text(frames[-1], cases)
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if options.verbose:
        sys.stderr.write(str(faults))
    return 1 if any(case.finding.severity is Severity.ERROR for case in cases) else 0


def _looked(config: Config, interval: float, span: float, faults: Faults) -> list[Frame]:
    """The frames of this time; each source is read at least once."""
    interest = replace(config.interest, checkup=True)
    wanted = Wanted(interval=interval, interest=interest)
    frames: list[Frame] = []
    feeds = open_feeds(config)
    with closing(Following(feeds, config, wanted, report=faults.report)) as following:
        until = time.monotonic() + span
        latest = until + 30.0  # for sources that are slow to answer
        while (now := time.monotonic()) < until or (
            not _answered(following.frame, whole=now < until + _SECONDS_TO_FIND) and now < latest
        ):
            if following.learn(max(min(until - now, interval), 0.1)) is not None:
                frames = [*frames[-_MOST_FRAMES:], following.frame]
    *before, last = frames or [following.frame]
    return [*before, last if config.read_only else asked(last, following.feeds)]


def _answered(frame: Frame, *, whole: bool) -> bool:
    """Whether each source was read; ``whole``: and has found out what it has to find out first."""
    return all(
        source.failure or (source.reading and (source.reading.complete or not whole))
        for source in frame.snapshot.sources
    )


def _text(frame: Frame, cases: tuple[Case, ...]) -> str:
    if not cases:
        places = ", ".join(dict.fromkeys(source.name for source in frame.snapshot.sources))
        return f"nothing to complain about in {clean(places)}\n"
    lines = []
    for source, finding in cases:
        where = f"{source.name} ({source.info.system})" if source.info.system else source.name
        objects = dict.fromkeys((clean(finding.subject), clean(where)))
        what = f"{finding.severity.value.upper():<8}{finding.words}: {', '.join(objects)}"
        lines.append(f"{what}  [{finding.code}]")
        lines.append(f"        {clean(finding.evidence, 1000)}")
        lines.append(f"        -> {clean(finding.mend, 1000)}")
    return "\n".join(lines) + "\n"


def _seconds(text: str) -> float:
    value = real(text)
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600 seconds")
    return value
