"""What became of actions, in words."""

from __future__ import annotations

from collections.abc import Sequence

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    Performed,
    RequeueFailed,
    RetryJob,
    is_for_workers,
)
from bgtop.page import Status, Tone
from bgtop.view.text import clean, number


def outcome_of(performed: Performed) -> Status:
    """What an action came to, as a line."""
    action = performed.action
    object_ = clean(object_of(action))
    if performed.outcome is None:
        fault = clean(performed.fault or "failed", 500)
        return Status("FAILED", Tone.BAD, f"{action.verb.value} {object_}: {fault}")
    changed, words = performed.outcome.changed, clean(performed.outcome.all_words, 500)
    count = "" if changed is None else f"{number(changed)} changed"
    parts = [part for part in (count, words) if part]
    return Status(
        "DONE", Tone.GOOD, f"{action.verb.value} {object_}: {' · '.join(parts) or 'done'}"
    )


def outcomes_of(performed: Sequence[Performed], asked: int) -> Status:
    """What several actions came to, so far, as one line."""
    last = performed[-1]
    if asked <= 1:
        return outcome_of(last)
    faults = [one for one in performed if one.outcome is None]
    counts = [one.outcome.changed for one in performed if one.outcome]
    known = [count for count in counts if count is not None]
    words = f"{last.action.verb.value} {len(performed)} of {asked}"
    if known:
        words += f": {number(sum(known))} changed"
    if faults:
        return Status(
            "FAILED",
            Tone.BAD,
            f"{words} · {len(faults)} failed, such as {outcome_of(faults[0]).text}",
        )
    return Status("DONE", Tone.GOOD, words)


def object_of(action: Action) -> str:
    """What an action is done to, in words."""
    if is_for_workers(action):
        from bgtop.state.errands import errand_object

        return errand_object(action)
    match action:
        case RetryJob() | CancelJob() | DeleteJob():
            return action.id
        case RequeueFailed():
            return action.queue or action.task or "everything"
        case _:
            return action.queue
