"""``bgtop export``: numbers for Prometheus, StatsD, Graphite, OpenTelemetry, without a screen."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from bgtop.cli.feeds import open_feeds
from bgtop.cli.options import Parser, add_display, add_sources, new_parser
from bgtop.cli.settings import complain, config_of
from bgtop.config import ConfigError
from bgtop.contracts import BackendError, ExportSettings, Interest, Interrupted
from bgtop.following import Following
from bgtop.oneshot import Wanted
from bgtop.registry import load_exporter, open_exporter
from bgtop.state.places import titles_of

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from bgtop.config import Config
    from bgtop.contracts import Exporter
    from bgtop.model import Frame

_SETTLE: Final = 0.2
"""Seconds after the first news: sources are polled together, so theirs come together."""

_EPILOG: Final = """\
At least one of --prometheus, --statsd, --graphite, --otlp, --exporter; each may be repeated.
Sources and receivers may be down: they are waited for, and a line on standard error says so.
exit status: 0 ended by SIGTERM, 1 cannot listen, 2 wrong usage or configuration, 130 interrupted
"""


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop export",
        "Pass numbers on, without a screen, until told to end.",
        usage="bgtop export [SOURCE ...] [--prometheus HOST:PORT] [--statsd HOST:PORT] "
        "[--graphite HOST:PORT] [--otlp URL] [OPTIONS]",
        epilog=_EPILOG,
    )
    group = made.add_argument_group("where to")

    def add(option: str, metavar: str, words: str) -> None:
        group.add_argument(option, action="append", default=[], metavar=metavar, help=words)

    add("--prometheus", "HOST:PORT", "serve /metrics and /healthz there (127.0.0.1:9540)")
    add("--statsd", "HOST:PORT", "send by UDP; also tcp://HOST:PORT, unix:PATH")
    add("--graphite", "HOST:PORT", "send plain text by TCP; also pickle://HOST:PORT")
    add("--otlp", "URL", "send to an OpenTelemetry collector, such as http://localhost:4318")
    add("--exporter", "NAME=ADDRESS", "an exporter by the name of its plug-in")
    names = made.add_argument_group("what numbers are called")
    names.add_argument(
        "--compat",
        metavar="NAMES",
        default="",
        help="also the names of flower,celery-exporter,rq-exporter, on /metrics",
    )
    names.add_argument(
        "--prefix", metavar="P", default="bgtop", help="first part of names (bgtop); not /metrics"
    )
    names.add_argument(
        "--tags", choices=("datadog", "influx", "graphite"), help="tags instead of paths"
    )
    add_sources(made, cut=False)
    add_display(made)
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Pass numbers on until a signal ends it."""
    config = config_of(options)
    feeds = open_feeds(config)
    wanted = Wanted(
        interval=config.refresh_interval,
        interest=Interest(internal=config.show_internal, events=True),
    )
    signal.signal(signal.SIGTERM, _end)
    try:
        with ExitStack() as stack:
            outlets = _opened(options, stack)
            report = _write if options.verbose else _keep_quiet
            following = Following(feeds, config, wanted, report=report)
            stack.callback(following.close)
            _pass_on(following, outlets, config)
    except Interrupted:
        pass
    return 0


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number)


def _write(traceback: str) -> None:
    sys.stderr.write(traceback)


def _keep_quiet(_: str) -> None:
    """A failed poll is said in a line anyway."""


class _Outlet(NamedTuple):
    """An exporter and what it is called here."""

    name: str
    exporter: Exporter


def _opened(options: argparse.Namespace, stack: ExitStack) -> list[_Outlet]:
    """Every exporter that was asked for; raises ``ConfigError``, ``PluginError``."""
    asked = _asked(options)
    compat = tuple(name.strip() for name in options.compat.split(",") if name.strip())
    if compat and not options.prometheus:
        raise ConfigError("--compat is about /metrics, and needs --prometheus")
    outlets: list[_Outlet] = []
    settings = ExportSettings(
        prefix=options.prefix,
        tags=options.tags,
        compat=compat,
        dropped=lambda: {outlet.name: outlet.exporter.dropped for outlet in outlets},
    )
    for name, address in asked:
        exporter = _open(name, address, settings)
        stack.enter_context(closing(exporter))
        again = sum(outlet.name.partition(" ")[0] == name for outlet in outlets)
        outlets.append(_Outlet(f"{name} {again + 1}" if again else name, exporter))
    return outlets


def _asked(options: argparse.Namespace) -> list[tuple[str, str]]:
    asked = [
        (name, address)
        for name in ("prometheus", "statsd", "graphite", "otlp")
        for address in getattr(options, name)
    ]
    for text in options.exporter:
        name, sign, address = text.partition("=")
        if not sign:
            raise ConfigError(f"--exporter: {text!r} is not NAME=ADDRESS")
        asked.append((name, address))
    if not asked:
        raise ConfigError("where to? Give --prometheus, --statsd, --graphite, --otlp or --exporter")
    return asked


def _open(name: str, address: str, settings: ExportSettings) -> Exporter:
    plugin = load_exporter(name)
    try:
        return open_exporter(plugin, address, settings)
    except ValueError as fault:
        raise ConfigError(f"--{name}: {fault}") from None
    except OSError as fault:
        words = (fault.strerror or str(fault)).lower()
        raise BackendError(f"--{name} {address}: {words}") from None


def _pass_on(following: Following, outlets: list[_Outlet], config: Config) -> NoReturn:
    """Once after each round of polls, and once an interval when nothing is heard."""
    interval = config.refresh_interval
    remarks = _Remarks()
    passed_at, news_since = time.monotonic() - interval / 2, None
    while True:
        now = time.monotonic()
        due = passed_at + interval
        if news_since is not None:
            due = min(due, max(news_since + _SETTLE, passed_at + interval / 2))
        if now >= due:
            passed_at, news_since = now, None
            frame = following.frame
            troubles = {outlet.name: _export(outlet, frame) for outlet in outlets}
            remarks.look(frame, troubles, {o.name: o.exporter.dropped for o in outlets})
        elif following.learn(due - now) and news_since is None:
            news_since = time.monotonic()


def _export(outlet: _Outlet, frame: Frame) -> str | None:
    """Hand the frame over; a fault of this exporter is no reason to end the others."""
    try:
        outlet.exporter.export(frame)
    except Exception as fault:  # noqa: BLE001 - whatever a plug-in may raise
        return f"unexpected {type(fault).__name__}: {fault}"
    return outlet.exporter.trouble


class _Remarks:
    """A line for everything that begins to fail, and one when it works again."""

    def __init__(self) -> None:
        self._failing: dict[str, int] = {}
        """What fails, and how many numbers it had thrown away before."""
        self._dropped: dict[str, int] = {}

    def look(self, frame: Frame, troubles: dict[str, str | None], dropped: dict[str, int]) -> None:
        """Say what has changed; ``dropped`` is how many numbers each threw away so far."""
        titles = titles_of(frame.snapshot.sources)
        now: dict[str, str | None] = {
            titles[source.key]: source.failure.message if source.failure else None
            for source in frame.snapshot.sources
        }
        now |= {f"--{name}": trouble for name, trouble in troubles.items()}
        before, self._dropped = self._dropped, {f"--{name}": n for name, n in dropped.items()}
        for subject, words in now.items():
            if words and subject not in self._failing:
                complain(f"{subject}: {words}")
                self._failing[subject] = before.get(subject, 0)
            elif not words and subject in self._failing:
                lost = self._dropped.get(subject, 0) - self._failing.pop(subject)
                rest = f"; {lost} numbers were dropped" if lost else ""
                complain(f"{subject}: works again{rest}")
