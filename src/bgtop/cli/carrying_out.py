"""From actions that were typed to what became of them: find, ask, do and write down."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

from bgtop.actions import Action, Performed, Verb
from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.settings import complain, config_of
from bgtop.model import JobQuery
from bgtop.state.targets import NoTarget, Target, outcome_words, question, target_of
from bgtop.view.text import clean
from bgworker.values import replace

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bgtop.acting import Hands
    from bgtop.audit import AuditLog
    from bgtop.config import Config
    from bgtop.model import Frame

EPILOG: Final = """\
It asks first, and says what, how many and where; --yes is needed where nobody can be asked.
Each change and each refusal is written to the audit log.
exit status: 0 done, 1 refused, not found or declined, 2 wrong usage, read-only or ambiguous
"""
_OF_ONE_JOB: Final = frozenset({Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.ABORT})


def carry_out(actions: Sequence[Action], options: argparse.Namespace) -> int:
    """Do this to the sources of the command line; the exit status."""
    from bgtop.audit import AuditError

    config = config_of(options)
    try:
        return _audited(config, actions, options)
    except AuditError as fault:
        complain(str(fault))
        return 1


def _audited(config: Config, actions: Sequence[Action], options: argparse.Namespace) -> int:
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
    hands: Hands, config: Config, actions: Sequence[Action], log: AuditLog | None, *, yes: bool
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
    if action.verb in _OF_ONE_JOB:
        interest = replace(interest, jobs=JobQuery(id=getattr(action, "id", None)))
    return hands.look(interest)


def _confirmed(words: str) -> bool:
    sys.stderr.write(f"{clean(words, 2000)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _told(target: Target, done: Performed) -> int:
    if done.outcome is None:
        complain(f"{target.words}: {done.fault}")
        return 1
    line = clean(outcome_words(target, done.outcome.changed, done.outcome.all_words), 2000)
    encoding = sys.stdout.encoding
    sys.stdout.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))
    return 0


def _note(log: AuditLog | None, done: Performed, system: str | None = None) -> None:
    if log is not None:
        log.write(done, system)
