"""``bgtop retry``, ``cancel``, ``delete``, ``requeue``, ``purge``, ``pause`` and ``resume``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
)
from bgtop.cli.carrying_out import EPILOG, carry_out
from bgtop.cli.options import Parser, add_acting, add_reading, new_parser
from bgtop.cli.settings import complain
from bgtop.source_url import scheme_of

_WORDS: Final = {
    "retry": "Let jobs that failed, or were put aside as dead, run again.",
    "cancel": "Keep jobs from running; with --terminate also stop those that run.",
    "delete": "Forget jobs that are not running, wherever they are kept.",
    "requeue": "Let all failed and dead jobs run again: of one queue, of one task, or all.",
    "purge": "Delete the jobs that wait in a queue; what runs or is due later stays.",
    "pause": "Let no worker take jobs of a queue any more; what runs goes on.",
    "resume": "Undo a pause.",
}
_OF_QUEUES: Final[dict[str, Callable[..., Action]]] = {
    "purge": PurgeQueue,
    "pause": PauseQueue,
    "resume": ResumeQueue,
}
_OF_JOBS: Final[dict[str, Callable[..., Action]]] = {"retry": RetryJob, "delete": DeleteJob}


def parser(name: str) -> Parser:
    """What reads the arguments of one of these commands."""
    object_ = {"requeue": "--failed", "purge": "QUEUE", "pause": "QUEUE", "resume": "QUEUE"}
    usage = f"bgtop {name} {object_.get(name, 'ID ...')} [SOURCE ...] [--yes] [OPTIONS]"
    made = new_parser(f"bgtop {name}", _WORDS[name], usage=usage, epilog=EPILOG)
    if name == "requeue":
        made.add_argument("--failed", action="store_true", required=True, help="failed and dead")
        made.add_argument("--queue", metavar="Q", help="only those of this queue")
        made.add_argument("--task", metavar="T", help="only those of this task")
    elif name in object_:
        made.add_argument("queue", metavar="QUEUE", help="the name of the queue")
    else:
        made.add_argument(
            "ids", nargs="+", metavar="ID", help="a job; a URL among them is a source"
        )
    if name == "cancel":
        made.add_argument("--terminate", action="store_true", help="also stop a job that runs")
        words = "with --terminate: how, where the system can choose (SIGTERM)"
        made.add_argument("--signal", type=_signal, default="SIGTERM", metavar="NAME", help=words)
    if name in object_:
        made.add_argument("sources", nargs="*", metavar="SOURCE", help="a URL, or a profile")
    made.add_argument("--source", action="append", metavar="SOURCE", help="likewise")
    add_acting(made)
    add_reading(made, rows=False)
    return made


def _signal(text: str) -> str:
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if not re.fullmatch(r"SIG[A-Z0-9]+", name):
        raise argparse.ArgumentTypeError(f"{text!r} is no signal")
    return name


def actions_of(name: str, options: argparse.Namespace) -> list[Action]:
    """What the command line asks for."""
    if name == "requeue":
        return [RequeueFailed(queue=options.queue, task=options.task)]
    if name in _OF_QUEUES:
        return [_OF_QUEUES[name](queue=options.queue)]
    ids = dict.fromkeys(options.ids)
    if name == "cancel":
        how = options.terminate, options.signal
        return [CancelJob(id=id_, terminate=how[0], signal=how[1]) for id_ in ids]
    return [_OF_JOBS[name](id=id_) for id_ in ids]


def run(name: str, options: argparse.Namespace) -> int:
    """Find, ask, do and write down; the exit status."""
    _sort_out_sources(name, options)
    actions = actions_of(name, options)
    if not actions:
        complain(f"no ID was given (see bgtop {name} --help)")
        return 2
    return carry_out(actions, options)


def _sort_out_sources(name: str, options: argparse.Namespace) -> None:
    """Words with a scheme are sources, wherever they stand."""
    found = [*(options.source or ()), *getattr(options, "sources", ())]
    if name in {"retry", "cancel", "delete"}:
        found += [word for word in options.ids if scheme_of(word)]
        options.ids = [word for word in options.ids if not scheme_of(word)]
    options.sources = found
