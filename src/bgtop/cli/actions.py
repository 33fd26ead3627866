"""``bgtop retry``, ``cancel``, ``delete``, ``requeue``, ``purge``, ``pause`` and ``resume``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    PauseQueue,
    Performed,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
)
from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_acting, add_reading, new_parser
from bgtop.cli.settings import complain, config_of
from bgtop.model import JobQuery
from bgtop.source_url import scheme_of
from bgtop.state.targets import NoTarget, Target, outcome_words, question, target_of
from bgtop.view.text import clean

if TYPE_CHECKING:
    from bgtop.acting import Hands
    from bgtop.audit import AuditLog
    from bgtop.config import Config
    from bgtop.model import Frame

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
_EPILOG: Final = """\
It asks first, and says what, how many and where; --yes is needed where nobody can be asked.
Each change and each refusal is written to the audit log.
exit status: 0 done, 1 refused, not found or declined, 2 wrong usage, read-only or ambiguous
"""


def parser(name: str) -> Parser:
    """What reads the arguments of one of these commands."""
    object_ = {"requeue": "--failed", "purge": "QUEUE", "pause": "QUEUE", "resume": "QUEUE"}
    usage = f"bgtop {name} {object_.get(name, 'ID ...')} [SOURCE ...] [--yes] [OPTIONS]"
    made = new_parser(f"bgtop {name}", _WORDS[name], usage=usage, epilog=_EPILOG)
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
    config = config_of(options)
    actions = actions_of(name, options)
    if not actions:
        complain(f"no ID was given (see bgtop {name} --help)")
        return 2
    from bgtop.audit import AuditError

    try:
        return _audited(config, actions, options)
    except AuditError as fault:
        complain(str(fault))
        return 1


def _sort_out_sources(name: str, options: argparse.Namespace) -> None:
    """Words with a scheme are sources, wherever they stand."""
    found = [*(options.source or ()), *getattr(options, "sources", ())]
    if name in {"retry", "cancel", "delete"}:
        found += [word for word in options.ids if scheme_of(word)]
        options.ids = [word for word in options.ids if not scheme_of(word)]
    options.sources = found


def _audited(config: Config, actions: list[Action], options: argparse.Namespace) -> int:
    from bgtop.cli.auditing import audit_log

    with audit_log(config, os.environ, by="command line") as log:
        if config.read_only:
            for action in actions:
                _note(log, Performed(source="", action=action, fault="read-only"))
            complain("read-only: nothing is changed (option, configuration or BGTOP_READ_ONLY)")
            return 2
        if not options.yes and not sys.stdin.isatty():
            complain("nobody can be asked here: say --yes to do it without a question")
            return 2
        from bgtop.acting import Hands

        faults = Faults()
        try:
            with closing(Hands(open_feeds(config), config, report=faults.report)) as hands:
                return _act(hands, config, actions, log, yes=options.yes)
        finally:
            if options.verbose:
                sys.stderr.write(str(faults))


def _act(
    hands: Hands, config: Config, actions: list[Action], log: AuditLog | None, *, yes: bool
) -> int:
    targets: list[Target] = []
    status = 0
    for action in actions:
        frame = _look(hands, config, action)
        try:
            targets.append(target_of(frame, action))
        except NoTarget as fault:
            complain(str(fault))
            _note(log, Performed(source="", action=action, fault=str(fault)))
            status = max(status, 2 if fault.ambiguous else 1)
    able = [target for target in targets if target.able]
    if status == 2 or not targets:
        return status
    if able and not yes and not _confirmed(question(frame, able)):
        complain("nothing was changed")
        return 1
    for target in targets:
        # Where the system cannot do it, this brings nothing but the words that say why.
        done = hands.perform(target.source.key, target.action)
        _note(log, done, target.source.info.system)
        status = max(status, _told(target, done))
    return status


def _look(hands: Hands, config: Config, action: Action) -> Frame:
    interest = replace(config.interest, internal=True)
    if isinstance(action, (RetryJob, CancelJob, DeleteJob)):
        interest = replace(interest, jobs=JobQuery(id=action.id))
    return hands.look(interest)


def _confirmed(words: str) -> bool:
    sys.stderr.write(f"{clean(words, 2000)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _told(target: Target, done: Performed) -> int:
    if done.outcome is None:
        complain(f"{target.words}: {done.fault}")
        return 1
    line = clean(outcome_words(target, done.outcome.changed, done.outcome.words), 2000)
    encoding = sys.stdout.encoding
    sys.stdout.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))
    return 0


def _note(log: AuditLog | None, done: Performed, system: str | None = None) -> None:
    if log is not None:
        log.write(done, system)
