"""``bgtop queues``, ``workers``, ``tasks``, ``schedules`` and ``task ID``: rows for scripts."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_display, add_reading, add_sources, new_parser, positive
from bgtop.cli.settings import complain, config_of
from bgtop.cli.snapshot import FORMATS, interval_of
from bgtop.cli.terminal import look_of
from bgtop.config import ConfigError
from bgtop.contracts import Interest
from bgtop.model import ALL_STATES, Capability, JobQuery, JobState
from bgtop.oneshot import Wanted, take_frame
from bgtop.state.intake import BadPattern
from bgtop.state.places import titles_of
from bgworker.values import replace

if TYPE_CHECKING:
    import argparse

    from bgtop.config import Config
    from bgtop.model import Frame, Source
    from bgtop.view.lists import Kind, Record

_TO_CHOOSE_FROM: Final = 1000
"""Jobs of each state that are read where a filter or an order picks from them."""

_RATED: Final = {
    "queues": "readings to take; from two on there are rates (1)",
    "tasks": "readings to take; from two on events are followed meanwhile, for --by-type (1)",
}
"""What more than one reading is for."""

_WORDS: Final = {
    "queues": "List queues, with all that is known of each.",
    "workers": "List workers, with all that is known of each.",
    "tasks": "List single jobs (what waits, runs, failed …), or with --by-type figures by task.",
    "schedules": "List what runs by the clock.",
    "task": "Show one job, whole: arguments (secrets hidden), times, worker, result, traceback.",
}


def parser(name: str) -> Parser:
    """What reads the arguments of one of these commands."""
    if name == "task":
        return _parser_of_one()
    usage = f"bgtop {name} [SOURCE ...] [--format text|json|csv] [--filter EXPR] [--sort COL]"
    made = new_parser(f"bgtop {name}", _WORDS[name], usage=f"{usage} [OPTIONS]")
    made.add_argument("--format", choices=FORMATS, default="text", help="text unless given")
    rows = made.add_argument_group("which rows")
    rows.add_argument("--filter", metavar="EXPR", help="only rows that match; !EXPR: all others")
    words = "a key of the JSON or a heading; largest or A first, !COL: the other way round"
    rows.add_argument("--sort", metavar="COL", help=words)
    rows.add_argument("--limit", type=positive, metavar="N", help="at most N rows")
    if name == "tasks":
        states = [state.value for state in JobState]
        words = "only in this state (waiting, running, failed …); may be repeated"
        rows.add_argument("--state", action="append", choices=states, metavar="S", help=words)
        rows.add_argument("--queue", metavar="Q", help="only of this queue")
        rows.add_argument("--worker", metavar="W", help="only of this worker")
        rows.add_argument("--by-type", action="store_true", help="one row for each task")
    if name in _RATED:
        words = _RATED[name]
        made.add_argument("--samples", type=positive, default=1, metavar="N", help=words)
    add_sources(made, interval=Wanted().interval, cut=False)
    add_display(made)
    return made


def _parser_of_one() -> Parser:
    made = new_parser(
        "bgtop task", _WORDS["task"], usage="bgtop task ID [SOURCE ...] [--format text|json]"
    )
    made.add_argument("--format", choices=("text", "json"), default="text", help="text or JSON")
    made.add_argument("id", metavar="ID", help="the id of the job")
    made.add_argument("sources", nargs="*", metavar="SOURCE", help="where to look")
    add_reading(made, interval=Wanted().interval, cut=False)
    add_display(made)
    return made


def run(name: str, options: argparse.Namespace) -> int:
    """Read and print; status 1 when a source failed or nothing can tell."""
    return _show_one(options) if name == "task" else _list(name, options)


def _list(name: str, options: argparse.Namespace) -> int:
    from bgtop.state.filters import filter_of
    from bgtop.view.lists import BadColumn, in_order, list_document, sheet_of, text_of

    kind = _kind_of(name, options)
    config = config_of(options)
    try:  # before anything is read
        in_order((), kind, options.sort)
        keeps = filter_of(options.filter or "", kind.facts)
    except BadColumn as fault:
        raise ConfigError(f"--sort: {fault}") from None
    except BadPattern as fault:
        raise ConfigError(f"--filter: {fault}") from None
    interest = _interest(name, options, config)
    frame = _frame(options, config, interest)
    rows = in_order(kind.records(frame, keeps), kind, options.sort)
    shown = rows[: options.limit]
    blind = [why for source in _read(frame) if (why := _why_blind(source, kind, interest))]
    readable = len(blind) < len(_read(frame))
    if options.format == "json" or readable:
        if options.format == "json":
            _print_json(list_document(frame, kind, shown, len(rows) - len(shown)))
        elif options.format == "csv":
            _print(sheet_of(kind, shown))
        else:
            _print_table(text_of(kind, shown, frame), config)
    complain(*blind, *_unread(frame, options))
    return max(_complaints(frame, options), 0 if readable or not blind else 1)


def _why_blind(source: Source, kind: Kind, interest: Interest) -> str:
    """Why nothing can be told of a source, which is another thing than that there is nothing."""
    facts, words = _CAN[kind.name]
    able = source.info.capabilities & facts
    if not able:
        return f"{source.info.system} does not tell its {words}"
    if able == {Capability.EVENTS} and not interest.events:
        return f"{source.info.system} tells its {words} by events only: --samples 2 follows them"
    return ""


def _unread(frame: Frame, options: argparse.Namespace) -> list[str]:
    """States that were asked for by name and cannot be listed; and whether there are more jobs."""
    from bgtop.view.lists import job_lists

    asked = {JobState(state) for state in getattr(options, "state", None) or ()}
    lines = []
    for source, jobs in job_lists(frame):
        system = source.info.system
        states = [state.value for state in JobState if state in asked & jobs.unreadable]
        if states:
            lines.append(f"{system} cannot list jobs that are {' or '.join(states)}")
        if jobs.more and options.format != "json" and not options.limit:
            lines.append(f"{system} has more jobs than are listed: --limit N")
    return lines


_CAN: Final = {
    "queues": ({Capability.DEPTH}, "queues"),
    "workers": ({Capability.WORKERS}, "workers"),
    "tasks": ({Capability.JOBS}, "single jobs"),
    "task_types": ({Capability.TASK_TYPES, Capability.EVENTS}, "tasks"),
    "schedules": ({Capability.SCHEDULES}, "schedules"),
}


def _kind_of(name: str, options: argparse.Namespace) -> Kind:
    from bgtop.view import lists

    if name == "tasks" and options.by_type:
        return lists.TYPES
    kinds = (lists.QUEUES, lists.WORKERS, lists.TASKS, lists.SCHEDULES)
    return next(kind for kind in kinds if kind.name == name)


def _interest(name: str, options: argparse.Namespace, config: Config) -> Interest:
    if name == "schedules":
        return replace(config.interest, schedules=True)
    if name != "tasks":
        return config.interest
    if options.by_type:
        events = config.interest.events or options.samples > 1
        return replace(config.interest, task_types=True, events=events)
    chosen = options.filter or options.sort
    limit = max(options.limit or 100, _TO_CHOOSE_FROM if chosen else 0)
    states = frozenset(map(JobState, options.state)) if options.state else ALL_STATES
    query = JobQuery(queue=options.queue, worker=options.worker, states=states, limit=limit)
    return replace(config.interest, jobs=query)


def _frame(options: argparse.Namespace, config: Config, interest: Interest) -> Frame:
    faults = Faults()
    samples = getattr(options, "samples", 1)
    wanted = Wanted(samples=samples, interval=interval_of(options, config), interest=interest)
    frame = take_frame(open_feeds(config), config, wanted, report=faults.report)
    if options.verbose:
        sys.stderr.write(str(faults))
    return frame


def _read(frame: Frame) -> list[Source]:
    return [source for source in frame.snapshot.sources if source.reading and source.info.system]


def _print_table(text: str, config: Config) -> None:
    if look_of(config.look, os.environ).ascii:
        from bgtop.view.text import ascii_only

        text = ascii_only(text)
    _print(text)


def _show_one(options: argparse.Namespace) -> int:
    from bgtop.view.document import SCHEMA, moment, source_records
    from bgtop.view.job_text import job_text
    from bgtop.view.lists import TASKS

    config = config_of(options)
    interest = replace(config.interest, jobs=JobQuery(id=options.id))
    frame = _frame(options, config, interest)
    found = [record for record in TASKS.records(frame) if record["id"] == options.id]
    if options.format == "json":
        taken_at = moment(frame.snapshot.taken_at)
        document = {"schema": SCHEMA, "taken_at": taken_at, "sources": source_records(frame)}
        _print_json({**document, "task": found[0] if len(found) == 1 else None})
    elif len(found) == 1:
        _print(job_text(found[0]))
    status = _complaints(frame, options)
    if len(found) == 1:
        return status
    if found:
        places = ", ".join(f"{record['source']} ({record['system']})" for record in found)
        complain(f"{options.id} is in several sources, name one of them: {places}")
    elif not status:
        complain(*_not_found(frame, options.id))
    return 1


def _not_found(frame: Frame, job: str) -> list[str]:
    asked = [s.info.system for s in _read(frame) if Capability.JOBS in s.info.capabilities]
    blind = [s.info.system for s in _read(frame) if Capability.JOBS not in s.info.capabilities]
    words = [f"no job {job} was found in {', '.join(map(str, asked))}"] if asked else []
    words += [f"{system} does not tell its single jobs" for system in blind]
    return words or [f"no job {job} was found: no job system"]


def _complaints(frame: Frame, options: argparse.Namespace) -> int:
    """Say which sources failed, and outside JSON what may mislead; the exit status."""
    titles = titles_of(frame.snapshot.sources)
    status = 0
    for source in frame.snapshot.sources:
        prefix = f"{titles[source.key]}: " if len(titles) > 1 else ""
        if source.failure is not None:
            complain(f"{prefix}{source.failure.message}")
            status = 1
        elif source.reading is not None and options.format != "json":
            complain(*(f"{prefix}{warning}" for warning in source.reading.warnings))
    return status


def _print_json(document: Record) -> None:
    from json import dumps

    _print(dumps(document, indent=1) + "\n")


def _print(text: str) -> None:
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
