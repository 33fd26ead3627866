"""``bgtop worker``, ``limit``, ``send`` and ``abort``: what workers are told."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from bgtop.actions import Action, Verb
from bgtop.cli.carrying_out import EPILOG, carry_out
from bgtop.cli.options import Mixed, Parser, add_acting, add_reading, new_parser, positive
from bgtop.source_url import scheme_of
from bgtop.worker_actions import KINDS, AbortJob, SendTask, SetRateLimit, SetTimeLimits, fault_of


class _WrongWords(Exception):
    """What was typed makes no action; the message says why."""


def _number(text: str) -> int:
    try:
        return positive(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise _WrongWords(f"{text!r} is no number from 1 on") from None


def _count(text: str) -> int:
    if not text.isdecimal():
        raise _WrongWords(f"{text!r} is no number from 0 on")
    return int(text)


class _Word(NamedTuple):
    """A word of the command line: how it is called there, its field, and what reads it."""

    shown: str
    field: str
    read: Callable[[str], Any] = str


class _Errand(NamedTuple):
    """What stands after a verb for workers, the worker last; none for what holds for all."""

    words: str
    takes: tuple[_Word, ...] = ()

    @property
    def shown(self) -> str:
        return "".join(f" {word.shown}" for word in self.takes)


_W = _Word("WORKER", "worker")
_N, _Q = _Word("N", "by", _number), _Word("Q", "queue")
_ERRANDS: Final = {
    Verb.SUSPEND.value: _Errand("let all workers rest: they take no more jobs"),
    Verb.WAKE.value: _Errand("let all workers work again"),
    Verb.SHUTDOWN.value: _Errand("finish what runs, then end", (_W,)),
    Verb.RESTART.value: _Errand("replace the processes of the pool", (_W,)),
    Verb.GROW.value: _Errand("run N jobs more at a time", (_N, _W)),
    Verb.SHRINK.value: _Errand("run N jobs less at a time", (_N, _W)),
    Verb.AUTOSCALE.value: _Errand(
        "choose between MIN and MAX",
        (_Word("MIN", "least", _count), _Word("MAX", "most", _count), _W),
    ),
    Verb.ADD_QUEUE.value: _Errand("take jobs of one more queue", (_Q, _W)),
    Verb.DROP_QUEUE.value: _Errand("take no more jobs of a queue", (_Q, _W)),
}
_WORDS: Final = {
    "worker": "Tell a worker what to do.",
    "limit": "Let workers begin a task less often, or stop it after a time.",
    "send": "Put a new job into a queue; the application need not be here.",
    "abort": "Ask jobs to end by themselves, which those do that were written to look for it.",
}
_USAGE: Final = {
    "worker": "ACTION [N | MIN MAX | Q] [WORKER]",
    "limit": "rate TASK RATE | time TASK [--soft S] [--hard S]",
    "send": "TASK",
    "abort": "ID ...",
}


def parser(name: str) -> Parser:
    """What reads the arguments of one of these commands."""
    usage = f"bgtop {name} {_USAGE[name]} [SOURCE ...] [--yes] [OPTIONS]"
    more = "" if name != "worker" else f"actions:\n{_listed()}\n"
    made = new_parser(f"bgtop {name}", _WORDS[name], usage=usage, epilog=more + EPILOG, kind=Mixed)
    {"worker": _add_worker, "limit": _add_limit, "send": _add_send, "abort": _add_abort}[name](made)
    made.add_argument("--source", action="append", metavar="SOURCE", help="likewise")
    add_acting(made)
    add_reading(made, rows=False)
    return made


def _listed() -> str:
    return "".join(
        f"  {name + errand.shown:<28}{errand.words}\n" for name, errand in _ERRANDS.items()
    )


def _add_worker(made: Parser) -> None:
    made.add_argument("action", choices=_ERRANDS, metavar="ACTION", help="see below")
    words = "what the action takes, the worker, and any sources"
    made.add_argument("words", nargs="*", metavar="WORKER", help=words)


def _add_limit(made: Parser) -> None:
    made.add_argument("kind", choices=("rate", "time"), metavar="rate|time", help="what is limited")
    words = "the task, for a rate 100/m, 5/s or 0 (no limit), and any sources"
    made.add_argument("words", nargs="+", metavar="TASK", help=words)
    words = "seconds after which it is told; none given: no such limit any more"
    made.add_argument("--soft", type=_seconds, metavar="S", help=words)
    words = "seconds after which its process is killed; likewise"
    made.add_argument("--hard", type=_seconds, metavar="S", help=words)
    made.add_argument("--worker", metavar="W", help="only at this worker, instead of at all")


def _add_send(made: Parser) -> None:
    made.add_argument("words", nargs="+", metavar="TASK", help="the task, and any sources")
    made.add_argument("--args", default="[]", metavar="JSON", help="its arguments, as a list")
    made.add_argument("--kwargs", default="{}", metavar="JSON", help="those by name, as an object")
    made.add_argument("--queue", metavar="Q", help="where to, if not to the usual one")
    made.add_argument("--countdown", type=_seconds, metavar="S", help="not before S seconds")
    made.add_argument("--eta", metavar="TIME", help="not before this time (ISO 8601)")
    words = "not after S seconds, or not after a time (ISO 8601)"
    made.add_argument("--expires", metavar="S|TIME", help=words)
    made.add_argument("--priority", type=int, metavar="N", help="as the system counts it")
    made.add_argument("--id", metavar="ID", help="instead of a new one")


def _add_abort(made: Parser) -> None:
    made.add_argument("words", nargs="+", metavar="ID", help="a job; a URL among them is a source")


def run(name: str, options: argparse.Namespace) -> int:
    """Find, ask, do and write down; the exit status."""
    try:
        actions, sources = _MAKE[name](options, options.words)
    except _WrongWords as fault:
        parser(name).error(str(fault))
    options.sources = [*(options.source or ()), *sources]
    return carry_out(actions, options)


def _of_worker(options: argparse.Namespace, words: list[str]) -> tuple[list[Action], list[str]]:
    name, errand = options.action, _ERRANDS[options.action]
    count = len(errand.takes)
    if len(words) < count or any(map(scheme_of, words[:count])):
        raise _WrongWords(f"{name}{errand.shown} is what it takes")
    values = {word.field: word.read(text) for word, text in zip(errand.takes, words, strict=False)}
    return [_checked(KINDS[Verb(name)](**values))], words[count:]


def _checked(action: Action) -> Action:
    fault = fault_of(action)
    if fault is not None:
        raise _WrongWords(fault)
    return action


def _of_limit(options: argparse.Namespace, words: list[str]) -> tuple[list[Action], list[str]]:
    task, *rest = words
    if options.kind == "time":
        made: Action = SetTimeLimits(
            task=task, soft=options.soft, hard=options.hard, worker=options.worker
        )
        return [_checked(made)], rest
    if not rest or scheme_of(rest[0]):
        raise _WrongWords("rate TASK RATE is what it takes")
    if options.soft is not None or options.hard is not None:
        raise _WrongWords("--soft and --hard are for times")
    return [SetRateLimit(task=task, rate=rest[0], worker=options.worker)], rest[1:]


def _of_send(options: argparse.Namespace, words: list[str]) -> tuple[list[Action], list[str]]:
    expires = options.expires
    made = SendTask(
        task=words[0],
        args=options.args,
        kwargs=options.kwargs,
        queue=options.queue,
        countdown=options.countdown,
        eta=options.eta,
        expires=_seconds(expires) if expires and expires.isdecimal() else expires,
        id=options.id,
        priority=options.priority,
    )
    return [made], words[1:]


def _of_abort(_: argparse.Namespace, words: list[str]) -> tuple[list[Action], list[str]]:
    ids = [word for word in dict.fromkeys(words) if not scheme_of(word)]
    if not ids:
        raise _WrongWords("no ID was given")
    return [AbortJob(id=id_) for id_ in ids], [word for word in words if scheme_of(word)]


_MAKE: Final = {
    "worker": _of_worker,
    "limit": _of_limit,
    "send": _of_send,
    "abort": _of_abort,
}


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value
