"""``bgworker``: run a worker, enqueue a job, look at the queue."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import bgworker
from bgworker.app import DEFAULT_URL
from bgworker.codec import dump_args
from bgworker.errors import BgWorkerError
from bgworker.log import complain
from bgworker.model import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    PRIORITY_LIMIT,
    JobSpec,
    TaskPolicy,
    is_name,
)

_URL_HELP = f"the queue (default: $BGWORKER_URL, else {DEFAULT_URL})"
_EPILOG = "Documentation: docs/tutorial.md. Exit codes: 0 done, 1 failed, 2 wrong usage."


class _OutputLost(Exception):
    """Standard output does not take what we say; the cause says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 it failed, 2 wrong usage, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not know every letter we show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = _parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int] = args.command
        return command(args)
    except BrokenPipeError:  # argparse's, while it shows its help
        return _silence()
    except _OutputLost as lost:
        if not isinstance(lost.__cause__, BrokenPipeError):
            complain(str(lost))
        return _silence()
    except BgWorkerError as error:
        _explain(error)
        return 1
    except KeyboardInterrupt:
        return 130


def _silence() -> int:
    """The interpreter flushes once more at its end, and must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _run(args: argparse.Namespace) -> int:
    from bgworker.worker.run import WorkerOptions, run_worker

    run_worker(
        WorkerOptions(
            app=args.app,
            concurrency=args.concurrency,
            url=args.url,
            queues=args.queues,
            grace=args.grace,
        )
    )
    return 0


def _enqueue(args: argparse.Namespace) -> int:
    import time

    from bgworker.engines import open_engine

    countdown = None if args.countdown is None else round(args.countdown * 1000)
    payload = dump_args(args.args, args.kwargs)
    with closing(open_engine(_url(args))) as engine:
        policy = engine.policy_of(args.task)
        if policy is None and args.queue is None:
            complain(
                f"no worker has declared {args.task!r} yet: queued on {DEFAULT_QUEUE!r}, "
                "where it waits"
            )
        policy = policy or TaskPolicy(
            name=args.task, queue=DEFAULT_QUEUE, priority=DEFAULT_PRIORITY
        )
        spec = JobSpec(
            task=args.task,
            args=payload,
            queue=args.queue or policy.queue,
            priority=policy.priority if args.priority is None else args.priority,
            lane=policy.lane(),
            run_at=None if countdown is None else time.time_ns() // 10**6 + countdown,
        )
        (job,) = engine.enqueue([spec])
    _say(json.dumps({"id": job}) if args.json else job)
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from bgworker import report

    if args.id is None:
        return _stats(args)
    with closing(report.inspector(_url(args))) as inspector:
        record = inspector.job(args.id)
    _say(report.job_json(record) if args.json else report.job_text(record))
    return 0


def _stats(args: argparse.Namespace) -> int:
    from bgworker import report

    stats = report.look(_url(args))
    _say(report.stats_json(stats) if args.json else report.stats_text(stats))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bgworker",
        description="Background jobs from one SQLite file, without a server.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bgworker {bgworker.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    _add_run(commands)
    _add_enqueue(commands)
    inspect = _command(
        commands, "inspect", _inspect, "show one job whole, or the queues and workers"
    )
    inspect.add_argument("id", nargs="?", metavar="ID", help="a job's id")
    _common(inspect)

    stats = _command(commands, "stats", _stats, "count jobs by state, queue and worker")
    _common(stats)
    return parser


def _add_run(commands: Any) -> None:
    run = _command(commands, "run", _run, "run a worker until it is told to stop")
    run.add_argument("--app", required=True, metavar="MODULE[:NAME]", help="where the tasks are")
    run.add_argument("--url", help=f"the queue (default: the app's own; else {DEFAULT_URL})")
    run.add_argument(
        "--concurrency",
        type=_count,
        default=_default_concurrency(),
        metavar="N",
        help="jobs at one time (default: $BGWORKER_CONCURRENCY, else the number of CPUs)",
    )
    run.add_argument("--queues", type=_names, metavar="A,B", help="only these (default: all)")
    run.add_argument(
        "--grace",
        type=_seconds,
        default=8.0,
        metavar="S",
        help="seconds running jobs have to finish after SIGTERM; then they go back (default: 8)",
    )


def _add_enqueue(commands: Any) -> None:
    enqueue = _command(commands, "enqueue", _enqueue, "store one job and print its id")
    enqueue.add_argument(
        "task", type=_name, metavar="TASK", help="the task's name, such as jobs.add"
    )
    enqueue.add_argument(
        "--args", type=_json_list, default=[], metavar="JSON", help="such as [1, 2]"
    )
    enqueue.add_argument(
        "--kwargs", type=_json_dict, default={}, metavar="JSON", help="""such as '{"a": 1}'"""
    )
    enqueue.add_argument("--countdown", type=_seconds, metavar="S", help="run it in S seconds")
    enqueue.add_argument("--queue", type=_name, help="instead of the task's own")
    enqueue.add_argument("--priority", type=_priority, help="lower runs first")
    _common(enqueue)


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(command=function)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help=_URL_HELP)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def _url(args: argparse.Namespace) -> str:
    url: str = args.url or os.environ.get("BGWORKER_URL") or DEFAULT_URL
    return url


def _default_concurrency() -> str:
    return os.environ.get("BGWORKER_CONCURRENCY") or str(os.cpu_count() or 1)


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a number from 1 to 1024")
    return int(text)


def _priority(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = PRIORITY_LIMIT + 1
    if abs(value) > PRIORITY_LIMIT:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a whole number such as 3 or -3")
    return value


def _name(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no name that can be stored")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e10:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a number of seconds, 0 or more")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError("no queue is named")
    return names


def _json_list(text: str) -> list[Any]:
    value = _json(text)
    if isinstance(value, list):
        return value
    raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a JSON array, such as [1, 2]")


def _json_dict(text: str) -> dict[str, Any]:
    value = _json(text)
    if isinstance(value, dict):
        return value
    raise argparse.ArgumentTypeError(f'{text[:80]!r} must be a JSON object, such as {{"a": 1}}')


def _json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _explain(error: BgWorkerError) -> None:
    why = getattr(error, "why", "")
    if why:  # the application's own traceback is what its author needs to see
        sys.stderr.write(why)
    complain(str(error))


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        raise _OutputLost(f"cannot write the output: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
