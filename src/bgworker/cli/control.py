"""The commands that change stored jobs: ``bgworker retry``, ``cancel``, ``purge``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from bgworker.cli.arguments import add_target, existing_queue, name, new_command, url_of
from bgworker.cli.output import say
from bgworker.log import complain, printable
from bgworker.model import Answer, JobId
from bgworker.states import WAITING, JobState

_AT_ONCE = 500
"""Jobs of one transaction: others wait no longer than for a few hundred."""
_NOT_CANCELLED = "has ended as {was} already: there is nothing to cancel"
_DONE = "is queued once more"
_NOT_RETRIED = {
    JobState.SUCCEEDED: "has succeeded: enqueue it anew to run it again",
    JobState.RUNNING: "is running: cancel it first to run it anew",
    JobState.QUEUED: "is queued already",
    JobState.BLOCKED: "waits for other jobs: retry those",
}
_MAY_NOT = (
    "may not come back: another job with its unique key is alive, "
    "or a job it comes after has not succeeded (retry that one too)"
)


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    retry = new_command(commands, "retry", _retry, "queue failed, dead or cancelled jobs once more")
    retry.add_argument("ids", nargs="*", metavar="ID", help="a job's id")
    retry.add_argument("--failed", action="store_true", help="all that have failed")
    retry.add_argument("--dead", action="store_true", help="all that are dead")
    retry.add_argument("--queue", type=name, help="with --failed, --dead: only of this queue")
    retry.add_argument("--task", type=name, help="with --failed, --dead: only of this task")
    retry.set_defaults(refuse=retry.error)
    add_target(retry)

    cancel = new_command(commands, "cancel", _cancel, "cancel jobs that wait or run")
    cancel.add_argument("ids", nargs="+", metavar="ID", help="a job's id")
    add_target(cancel)

    purge = new_command(commands, "purge", _purge, "cancel all jobs that wait in a queue")
    purge.add_argument("--queue", type=name, help="only this one (default: all queues)")
    purge.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    purge.set_defaults(refuse=purge.error)
    add_target(purge)


def _cancel(args: argparse.Namespace) -> int:
    with closing(existing_queue(args)) as dispatcher:
        answers = dispatcher.cancel([JobId(id_) for id_ in args.ids], f"by {_user()}")
    words = {
        answer.id: "is being stopped" if answer.was is JobState.RUNNING else "is cancelled"
        for answer in answers
        if answer.done
    }
    refusals = {
        answer.id: _NOT_CANCELLED.format(was=answer.was.value)
        for answer in answers
        if answer.was and not answer.done
    }
    return _tell(args, answers, {**words, **refusals})


def _retry(args: argparse.Namespace) -> int:
    states = [JobState(state) for state in ("failed", "dead") if getattr(args, state)]
    if bool(states) is bool(args.ids):
        args.refuse("name jobs by their ids, or all of them with --failed or --dead")
    if not states and (args.queue or args.task):
        args.refuse("--queue and --task choose among --failed and --dead")
    with closing(existing_queue(args)) as dispatcher:
        ids = [JobId(id_) for id_ in args.ids] if args.ids else _all_of(args, states)
        answers: list[Answer] = []
        for start in range(0, len(ids), _AT_ONCE):
            answers += dispatcher.retry(ids[start : start + _AT_ONCE])
    words = {
        answer.id: _DONE if answer.done else _NOT_RETRIED.get(answer.was, _MAY_NOT)
        for answer in answers
        if answer.was
    }
    if not states:
        return _tell(args, answers, words)
    # Who is no longer failed or dead was somebody else's to retry.
    answers = [answer for answer in answers if answer.done or answer.was in states]
    if not args.json:
        say(f"{_jobs(sum(answer.done for answer in answers))} queued once more")
        answers = [answer for answer in answers if not answer.done]
    return _tell(args, answers, words)


def _purge(args: argparse.Namespace) -> int:
    from bgworker import report

    queues = {queue.name: queue for queue in report.look(url_of(args)).queues}
    path = report.path_of(url_of(args))
    if args.queue is not None and args.queue not in queues:
        complain(f"there is no queue {args.queue!r} in {path}")
        return 1
    chosen = queues.values() if args.queue is None else [queues[args.queue]]
    count = sum(queue.states[state] for queue in chosen for state in WAITING)
    where = "all queues" if args.queue is None else f"the queue {args.queue!r}"
    question = f"Cancel {_jobs(count)} waiting in {where} of {path}?"
    if count and not args.yes and not _agrees(args, question):
        complain("nothing was changed")
        return 1
    gone = 0
    if count:
        with closing(existing_queue(args)) as dispatcher:
            gone = dispatcher.purge(args.queue, f"by {_user()}, with all that waited")
    say(json.dumps({"purged": gone}) if args.json else f"{_jobs(gone)} cancelled")
    return 0


def _agrees(args: argparse.Namespace, question: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        args.refuse("without a terminal to ask on, --yes is needed")
    sys.stderr.write(f"{printable(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _tell(args: argparse.Namespace, answers: Sequence[Answer], words: dict[JobId, str]) -> int:
    """Say what happened to each job; the exit code."""
    words = {answer.id: words.get(answer.id, "is not stored here") for answer in answers}
    if args.json:
        jobs = [
            {
                "id": answer.id,
                "was": answer.was and answer.was.value,
                "done": answer.done,
                "detail": words[answer.id],
            }
            for answer in answers
        ]
        say(json.dumps({"jobs": jobs}))
    for answer in answers:
        if not answer.done:
            complain(f"job {answer.id} {words[answer.id]}")
        elif not args.json:
            say(f"job {answer.id} {words[answer.id]}")
    return 0 if all(answer.done for answer in answers) else 1


def _all_of(args: argparse.Namespace, states: Sequence[JobState]) -> Sequence[JobId]:
    """The jobs that are in these states now: who fails again meanwhile is not tried again."""
    from bgworker import report

    with closing(report.inspector(url_of(args))) as inspector:
        return [
            id_ for state in states for id_ in inspector.ended_ids(state, args.queue, args.task)
        ]


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _user() -> str:
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container
        return f"user {os.getuid()}"
