"""``bgtop record FILE [SOURCE…]``: writes down what the live view would show."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_display, add_sources, new_parser
from bgtop.cli.settings import complain, config_of
from bgtop.config_values import octets
from bgtop.following import Following
from bgtop.oneshot import Wanted
from bgtop.recording import LEAST_OCTETS, Recorder, RecordingError
from bgtop.session import now
from bgtop.view.text import size
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.config import Config
    from bgtop.contracts import Interest
    from bgtop.model import Snapshot

_MOST: Final = "64M"
_EACH: Final = 1.0
"""Seconds between two transactions: so much at most is lost when the process is killed."""

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_WITH: Final = {
    "events": "events",
    "tasks": "task_types",
    "schedules": "schedules",
    "findings": "checkup",
}
"""What can be recorded beside queues and workers, and what asks a backend for it."""


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop record",
        "Write what the sources tell into a file, until Ctrl-C or SIGTERM; bgtop replay shows it.\n"
        "A recording that is there is gone on with.",
        usage="bgtop record FILE [SOURCE ...] [--max-size SIZE] [OPTIONS]",
    )
    made.add_argument("file", metavar="FILE", help="the recording, of mode 0600 when it is new")
    made.add_argument(
        "--max-size",
        type=_size,
        default=_size(_MOST),
        metavar="SIZE",
        help=f"the oldest is dropped beyond this: 500k, 64M, 2G ({_MOST})",
    )
    made.add_argument(
        "--with",
        dest="extras",
        type=_extras,
        default=("events",),
        metavar="LIST",
        help="beside queues and workers: events, tasks, schedules, findings; or none (events)",
    )
    add_sources(made)
    add_display(made)
    return made


def _size(text: str) -> int:
    try:
        value = octets(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None
    if value < LEAST_OCTETS:
        raise argparse.ArgumentTypeError(f"{text} is less than 1M")
    return value


def _extras(text: str) -> tuple[str, ...]:
    words = tuple([word for word in text.replace(",", " ").split() if word != "none"])
    for word in words:
        if word not in _WITH:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(_WITH)}")
    return words


def run(_: str, options: argparse.Namespace) -> int:
    """Record until told to end; the exit status."""
    if "://" in options.file:
        complain(f"{options.file} is a source; first comes the file: bgtop record FILE SOURCE")
        return 2
    config = config_of(options)
    faults = Faults()
    try:
        with _ended() as ending:
            _record(config, options, ending, faults)
    except RecordingError as fault:
        complain(str(fault))
        return 1
    finally:
        if options.verbose:
            sys.stderr.write(str(faults))
    return 0


def _record(config: Config, options: argparse.Namespace, ending: list[int], faults: Faults) -> None:
    feeds = open_feeds(config)
    recorder = Recorder(options.file, most=options.max_size)
    count = 0
    try:
        wanted = Wanted(
            interval=config.refresh_interval, interest=_interest(config.interest, options.extras)
        )
        following = Following(feeds, config, wanted, report=faults.report)
        with closing(following):
            recorder.begin(following.known, now(), config.refresh_interval)
            recorder.commit()
            _say_what_begins(recorder, following.known.snapshot, options.file)
            due = time.monotonic() + _EACH
            while not ending:
                sample = following.learn(_EACH / 2)
                if sample is not None:
                    count += 1
                    recorder.hear(sample, following.known, now())
                if time.monotonic() >= due:
                    recorder.commit()
                    due = time.monotonic() + _EACH
    finally:
        recorder.close()
    complain(f"{options.file}: {count} readings, {size(recorder.octets)}")


def _interest(usual: Interest, extras: tuple[str, ...]) -> Interest:
    flags: dict[str, Any] = {_WITH[word]: True for word in extras}
    return replace(usual, **flags)


def _say_what_begins(recorder: Recorder, known: Snapshot, path: str) -> None:
    places = ", ".join(dict.fromkeys(source.name for source in known.sources))
    how = "going on with" if recorder.existed else "recording to"
    complain(f"{how} {path}: {places}; Ctrl-C ends it")


@contextmanager
def _ended() -> Iterator[list[int]]:
    """The signals that told us to end, as they come: nothing is cut short by them.

    Those that are ignored stay so: ``nohup`` and the like mean it.
    """
    heard: list[int] = []
    numbers = [n for n in _ENDING if signal.getsignal(n) is not signal.SIG_IGN]
    before = [signal.signal(number, lambda n, _frame: heard.append(n)) for number in numbers]
    try:
        yield heard
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
