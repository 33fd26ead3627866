"""``bgtop replay FILE``: a recording in the live screen, or one moment of it as text."""

from __future__ import annotations

import argparse
import os
import re
import sys
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from bgtop.cli.feeds import Faults
from bgtop.cli.options import Parser, add_display, add_screen, new_parser, real
from bgtop.cli.settings import complain, config_of
from bgtop.cli.snapshot import FORMATS, print_frame
from bgtop.cli.terminal import is_interactive, look_of
from bgtop.contracts import NoTerminal
from bgtop.playback import Playback
from bgtop.recording import RecordingError
from bgtop.session import frame_of
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.config import Config
    from bgtop.model import Alert

_SPAN: Final = re.compile(r"([+-])(\d+(?:\.\d+)?)([smhd]?)")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

_EPILOG: Final = """\
TIME: 12:03 or 12:03:11, a date and time such as 2026-11-21T12:03, or a distance:
      +10m from the beginning, --at=-5m before the end
keys: left and right ten seconds, [ and ] a minute, Home and End, p pause, + and - speed
"""


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop replay",
        "Show a recording as the live view showed it. No source is read or changed.\n"
        "Without a terminal the last moment of it is printed, or the one of --at.",
        usage="bgtop replay FILE [--speed X] [--at TIME] [--format text|json|csv] [OPTIONS]",
        epilog=_EPILOG,
    )
    made.add_argument("file", metavar="FILE", help="what bgtop record wrote")
    made.add_argument(
        "--speed", type=_speed, default=1.0, metavar="X", help="so many seconds in one (1)"
    )
    made.add_argument("--at", metavar="TIME", help="begin there, or print this moment")
    made.add_argument("--format", choices=FORMATS, help="print one moment and end")
    add_display(made)
    add_screen(made)
    return made


def _speed(text: str) -> float:
    value = real(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and 3600")
    return value


def run(_: str, options: argparse.Namespace) -> int:
    """Show it; the exit status."""
    config = config_of(options, need_source=False)
    try:
        with closing(Playback(options.file)) as playback:
            return _replay(playback, config, options)
    except RecordingError as fault:
        complain(str(fault))
        return 1


def _replay(playback: Playback, config: Config, options: argparse.Namespace) -> int:
    begin, end = playback.begin, playback.end
    at = None if options.at is None else moment_named(options.at, begin, end)
    if options.at is not None and at is None:
        complain(f"--at: {options.at!r} is no time such as 12:03:11, +10m or 2026-11-21T12:03")
        return 2
    if at is not None and not begin <= at <= end:
        complain(f"--at: the recording is from {_words(begin)} to {_words(end)}")
        return 2
    if options.format is None and is_interactive():
        return _watch(playback, config, at or begin, options)
    _print(playback, config, at or end, options.format or "text")
    return 0


def _print(playback: Playback, config: Config, at: datetime, form: str) -> None:
    """One moment of it, with the rules of the user's that were broken then."""
    alerts: tuple[Alert, ...] = ()
    if config.alerts is not None:
        from bgtop.replaying import alerts_at

        alerts = alerts_at(playback, at, config)
    frame = replace(frame_of(playback.seek(at), config), alerts=alerts)
    told = None if config.alerts is None else [alert._asdict() for alert in alerts]
    print_frame(frame, config, form, at, beside={"alerts": told})


def _watch(playback: Playback, config: Config, at: datetime, options: argparse.Namespace) -> int:
    from bgtop.registry import load_renderer
    from bgtop.replaying import ReplaySession

    try:
        renderer = load_renderer(config.renderer).open(look_of(config.look, os.environ))
    except NoTerminal as reason:
        complain(f"{reason}; one moment instead of the recording")
        _print(playback, config, at, "text")
        return 0
    faults = Faults()
    try:
        ReplaySession(
            playback, renderer, config, at=at, speed=options.speed, report=faults.report
        ).run()
    finally:
        renderer.close()
        if options.verbose:
            sys.stderr.write(str(faults))
    return 0


def moment_named(text: str, begin: datetime, end: datetime) -> datetime | None:
    """The moment that a text of the user's means, in the zone of this machine if it names none."""
    if found := _SPAN.fullmatch(text):
        distance = timedelta(seconds=float(found[2]) * _UNITS[found[3]])
        return begin + distance if found[1] == "+" else end - distance
    if found := _CLOCK.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in found.groups())
        if hour > 23 or minute > 59 or second > 59:
            return None
        there = begin.astimezone()
        moment = there.replace(hour=hour, minute=minute, second=second, microsecond=0)
        # The first time it was so late: of a night it may be the day after.
        return moment if moment + timedelta(seconds=1) > begin else moment + timedelta(days=1)
    try:
        # Before Python 3.11 a Z is not understood.
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _words(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
