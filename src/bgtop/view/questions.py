"""From a key and the rows it is meant for to a question, and what follows a yes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgtop.actions import Verb
from bgtop.model import Frame
from bgtop.page import Status, Tone
from bgtop.source_url import redacted
from bgtop.view.deeds import DEEDS, Deed, Target, chosen, of_subject
from bgtop.view.listed import Listed
from bgtop.view.text import clean, number
from bgtop.view.ui import Asking, Pane, Perform, Ui

_MOST_NAMED: Final = 3


def ask(name: str, ui: Ui, frame: Frame, table: Listed, pane: Pane) -> Asking | Status:
    """The question before an action, or why there is none."""
    deed = DEEDS[name]
    targets = [t for t in chosen(table, pane) if t.kind in deed.make]
    targets = targets or [t for t in of_subject(ui, frame) if t.kind in deed.make]
    if not targets and pane.marks and not pane.marks & table.places.keys():
        words = f"none of the {len(pane.marks)} marked rows is shown; U unmarks"
        return Status("NOTE", Tone.INFO, f"{deed.verb.value}: {words}")
    if not targets:
        kinds = " or ".join(deed.make)
        return Status("NOTE", Tone.INFO, f"{deed.verb.value}: choose a {kinds} first")
    able = [target for target in targets if deed.verb in target.source.info.verbs]
    unable = [target for target in targets if deed.verb not in target.source.info.verbs]
    if not able:
        return Status("NOTE", Tone.WARN, f"{_systems(unable)}: {deed.verb.value} is not supported")
    lines = [*_named(able), *_counted(deed, able), f"at {_places(able)}"]
    if unable:
        lines.append(f"not at {_systems(unable)}, where it is not supported: {len(unable)}")
    unseen = len(pane.marks - table.places.keys())
    if unseen:
        lines.append(f"{unseen} more marked, but not shown: left alone")
    return Asking(
        title=f"{deed.words} {_what(able)}?",
        lines=tuple([clean(line, 300) for line in lines]),
        deeds=tuple([Perform(t.source.key, deed.make[t.kind](t)) for t in able]),
        signals=deed.signals,
    )


def _what(targets: Sequence[Target]) -> str:
    if len(targets) == 1:
        return clean(targets[0].title)
    return f"{len(targets)} {targets[0].kind}s"


def _named(targets: Sequence[Target]) -> list[str]:
    """Some of the names, if there are several."""
    if len(targets) == 1:
        return []
    names = [target.title for target in targets[:_MOST_NAMED]]
    more = len(targets) - len(names)
    return [*names, *([f"and {more} more"] if more else [])]


def _counted(deed: Deed, targets: Sequence[Target]) -> list[str]:
    """How many jobs it is about, where that is more than one each."""
    queues = [target.queue for target in targets if target.queue is not None]
    if not queues or deed.verb not in {Verb.PURGE, Verb.REQUEUE}:
        return []
    if deed.verb is Verb.PURGE:
        counts = [queue.depth for queue in queues]
    else:
        counts = [
            None
            if queue.failed is None and queue.dead is None
            else (queue.failed or 0) + (queue.dead or 0)
            for queue in queues
        ]
    known = [count for count in counts if count is not None]
    if not known:
        return ["how many jobs is not known"]
    return [f"{number(sum(known))} job{'' if sum(known) == 1 else 's'} at the moment"]


def _places(targets: Sequence[Target]) -> str:
    sources = {target.source.key: target.source for target in targets}
    return ", ".join(
        [
            f"{source.info.system or source.info.broker} {redacted(source.info.url)}"
            for source in sources.values()
        ]
    )


def _systems(targets: Sequence[Target]) -> str:
    return ", ".join(sorted({t.source.info.system or t.source.info.broker for t in targets}))
