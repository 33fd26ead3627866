"""``bgworker enqueue``."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from typing import Any

from bgworker.cli.arguments import (
    add_target,
    json_list,
    json_object,
    name,
    new_command,
    priority,
    seconds,
    url_of,
)
from bgworker.cli.output import say
from bgworker.log import complain
from bgworker.model import DEFAULT_PRIORITY, DEFAULT_QUEUE, JobSpec, TaskPolicy


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    enqueue = new_command(commands, "enqueue", _enqueue, "store one job and print its id")
    enqueue.add_argument(
        "task", type=name, metavar="TASK", help="the task's name, such as jobs.add"
    )
    enqueue.add_argument(
        "--args", type=json_list, default=[], metavar="JSON", help="such as [1, 2]"
    )
    enqueue.add_argument(
        "--kwargs", type=json_object, default={}, metavar="JSON", help="""such as '{"a": 1}'"""
    )
    enqueue.add_argument("--countdown", type=seconds, metavar="S", help="run it in S seconds")
    enqueue.add_argument("--queue", type=name, help="instead of the task's own")
    enqueue.add_argument("--priority", type=priority, help="lower runs first")
    add_target(enqueue)


def _enqueue(args: argparse.Namespace) -> int:
    import time

    from bgworker.codec import dump_args
    from bgworker.engines import open_engine

    countdown = None if args.countdown is None else round(args.countdown * 1000)
    payload = dump_args(args.args, args.kwargs)
    with closing(open_engine(url_of(args))) as engine:
        known = engine.policy_of(args.task)
        policy = known or TaskPolicy(name=args.task, queue=DEFAULT_QUEUE, priority=DEFAULT_PRIORITY)
        spec = JobSpec(
            task=args.task,
            args=payload,
            queue=args.queue or policy.queue,
            priority=policy.priority if args.priority is None else args.priority,
            lane=policy.lane(),
            run_at=None if countdown is None else time.time_ns() // 10**6 + countdown,
        )
        (job,) = engine.enqueue([spec])
    if known is None and args.queue is None:
        complain(f"no worker has declared {args.task!r} yet: it waits in {DEFAULT_QUEUE!r}")
    say(json.dumps({"id": job}) if args.json else job)
    return 0
