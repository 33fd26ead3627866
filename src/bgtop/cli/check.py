"""``bgtop check``: thresholds for Nagios, Icinga and everything that calls their plug-ins."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Final, NoReturn

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_display, add_sources, new_parser, positive
from bgtop.cli.settings import config_of
from bgtop.cli.snapshot import interval_of
from bgtop.cli.who_takes import asked
from bgtop.config import ConfigError
from bgtop.contracts import BackendError
from bgtop.counted import counted
from bgtop.oneshot import Wanted, take_frame
from bgtop.registry import PluginError
from bgtop.source_url import redacted_in
from bgtop.state import consumers
from bgtop.state.thresholds import Gauge, Grade, Limit, Measure, Verdict, verdict_on
from bgtop.view.text import clean

if TYPE_CHECKING:
    from bgtop.config import Config
    from bgtop.model import Frame
    from bgtop.sampler import Feed

_SECONDS_TO_BE_HEARD: Final = 5.0
"""Workers of Celery beat every two seconds."""

_MOST_REMARKS: Final = 5
"""A line for a pager: the rest is counted."""

_EPILOG: Final = """\
Beyond a “max” or below a “min” is CRITICAL, beyond the “warn” of the same kind WARNING.
Q= in front of a number holds it for the queue Q alone; without, for each queue.
A source that cannot be read is CRITICAL; a number that is needed and cannot be told is UNKNOWN.
exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (wrong usage and configuration too)
"""


class _NagiosParser(Parser):
    """Says wrong usage where a plug-in says everything, on standard output."""

    def error(self, message: str) -> NoReturn:
        sys.stdout.write(f"BGTOP UNKNOWN - {message} (see {self.prog} --help)\n")
        self.exit(Grade.UNKNOWN)


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop check",
        "Hold queues and workers against thresholds, as a Nagios plug-in does.",
        usage="bgtop check [SOURCE ...] [--max-depth [Q=]N] [--max-age [Q=]S] [OPTIONS]",
        epilog=_EPILOG,
        kind=_NagiosParser,
    )
    limits = made.add_argument_group("thresholds")

    def add(option: str, kind: Callable[[str], Limit], metavar: str, words: str) -> None:
        limits.add_argument(
            option, action="append", dest="limits", type=kind, metavar=metavar, help=words
        )

    depth, age, whole, warn = Measure.DEPTH, Measure.AGE, int, Grade.WARNING
    add("--max-depth", _of_queue(depth, whole), "[Q=]N", "jobs that may wait in a queue")
    add("--warn-depth", _of_queue(depth, whole, warn), "[Q=]N", "the same for a warning")
    add("--max-age", _of_queue(age, float), "[Q=]S", "seconds the oldest job may have waited")
    add("--warn-age", _of_queue(age, float, warn), "[Q=]S", "the same for a warning")
    add("--min-workers", _of_all(Measure.WORKERS), "N", "living workers there have to be")
    add("--warn-workers", _of_all(Measure.WORKERS, warn), "N", "the same for a warning")
    add("--max-failed", _of_all(Measure.FAILED), "N", "failed and dead jobs that may be kept")
    add("--warn-failed", _of_all(Measure.FAILED, warn), "N", "the same for a warning")
    limits.add_argument(
        "--no-consumer",
        action="append_const",
        dest="limits",
        const=Limit(measure=Measure.CONSUMERS),
        help="CRITICAL if jobs wait in a queue that no worker takes from (Celery's are asked)",
    )
    words = "readings to take; ages that are only watched grow with them (1)"
    made.add_argument("--samples", type=positive, default=1, metavar="N", help=words)
    add_sources(made, interval=Wanted().interval, cut=False)
    add_display(made)
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Look once and say the verdict in a line; the exit status is the grade."""
    try:
        grade, line = _checked(options)
    except ConfigError as fault:
        grade, line = Grade.UNKNOWN, "; ".join(fault.faults)
    except (PluginError, BackendError) as fault:
        grade, line = Grade.UNKNOWN, str(fault)
    except Exception as fault:
        if options.verbose:
            raise
        grade, line = Grade.UNKNOWN, f"unexpected {type(fault).__name__}: {redacted_in(str(fault))}"
    encoding = sys.stdout.encoding
    text = f"BGTOP {grade.name} - {line}\n"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    return grade


def _checked(options: argparse.Namespace) -> tuple[Grade, str]:
    config = config_of(options)
    limits = options.limits or ()
    wanted = Wanted(samples=options.samples, interval=interval_of(options, config))
    frame = _seen(config, wanted, options)
    listened = (wanted.samples - 1) * wanted.interval
    if listened < _SECONDS_TO_BE_HEARD and _may_be_a_false_alarm(frame, limits):
        frame = _seen(config, Wanted(samples=2, interval=_SECONDS_TO_BE_HEARD), options)
    verdict = verdict_on(frame, limits)
    return verdict.grade, f"{_words(verdict, frame)} | {' '.join(_perfdata(verdict.gauges))}"


def _seen(config: Config, wanted: Wanted, options: argparse.Namespace) -> Frame:
    """What is read, and what workers answer where it takes that."""
    faults = Faults()
    feeds: list[Feed] = []
    frame = take_frame(open_feeds(config), config, wanted, report=faults.report, begun=feeds.append)
    if options.verbose:
        sys.stderr.write(str(faults))
    limits = options.limits or ()
    if not config.read_only and any(limit.measure is Measure.CONSUMERS for limit in limits):
        frame = asked(frame, feeds)
    return frame


def _may_be_a_false_alarm(frame: Frame, limits: Sequence[Limit]) -> bool:
    """Whether workers are said to be missing where there may be some nobody has heard yet."""
    if not consumers.may_be_unheard(frame):
        return False
    about = [limit for limit in limits if limit.measure in (Measure.CONSUMERS, Measure.WORKERS)]
    anyway = verdict_on(frame, ()).remarks
    found = [remark for remark in verdict_on(frame, about).remarks if remark not in anyway]
    return any(remark.grade in (Grade.WARNING, Grade.CRITICAL) for remark in found)


def _words(verdict: Verdict, frame: Frame) -> str:
    said = [remark.words for remark in verdict.remarks[:_MOST_REMARKS]]
    if len(verdict.remarks) > _MOST_REMARKS:
        said.append(f"and {len(verdict.remarks) - _MOST_REMARKS} more")
    if not said:
        of = {gauge.label: gauge for gauge in verdict.gauges}
        places = ", ".join(dict.fromkeys(source.name for source in frame.snapshot.sources))
        queues, workers = _told(of["queues"], "queue"), _told(of["workers"], "worker")
        said = [f"{places}: {queues}, {_told(of['depth'])} waiting, {workers}"]
    # What follows a bar is read as numbers.
    return clean("; ".join(said), 1000).replace("|", "/")


def _told(gauge: Gauge, noun: str = "") -> str:
    """A sum in words; of one with an unknown part the least that it can be, unless that is zero."""
    if gauge.value is None or not (gauge.whole or gauge.value):
        return f"unknown {noun}s" if noun else "unknown"
    count = counted(round(gauge.value), noun) if noun else f"{gauge.value:.0f}"
    return count if gauge.whole else f"at least {count}"


def _perfdata(gauges: tuple[Gauge, ...]) -> Iterator[str]:
    """``'label'=value[unit];warn;crit``; what is unknown, also in part, is ``U``."""
    for gauge in gauges:
        label = clean(gauge.label).replace("'", "''").replace("=", ":").replace("|", "/")
        label = f"'{label}'" if " " in label else label
        known = gauge.value is not None and gauge.whole
        value = f"{round(gauge.value or 0, 3):.15g}{gauge.unit}" if known else "U"
        below = gauge.label == "workers"
        limits = [_range(limit, below=below) for limit in (gauge.warning, gauge.critical)]
        yield ";".join([f"{label}={value}", *limits]).rstrip(";")


def _range(limit: float | None, *, below: bool) -> str:
    """Nagios writes ``N`` for "alert above N" and ``N:`` for "alert below N"."""
    if limit is None:
        return ""
    return f"{limit:.15g}:" if below else f"{limit:.15g}"


def _of_queue(
    measure: Measure, number: Callable[[str], float], grade: Grade = Grade.CRITICAL
) -> Callable[[str], Limit]:
    def parse(text: str) -> Limit:
        queue, sign, value = text.rpartition("=")
        limit = _number(value, number)
        return Limit(measure=measure, value=limit, grade=grade, queue=queue if sign else None)

    return parse


def _of_all(measure: Measure, grade: Grade = Grade.CRITICAL) -> Callable[[str], Limit]:
    def parse(text: str) -> Limit:
        return Limit(measure=measure, value=_number(text, int), grade=grade)

    return parse


def _number(text: str, kind: Callable[[str], float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if value < 0 or not isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value
