"""Where ``:name`` leads, and how what is typed of it can go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgtop.model import Frame
from bgtop.page import RowId
from bgtop.state.records import queue_rows
from bgtop.view.pages import FIRST_PAGES
from bgtop.view.pages.overview import worker_rows
from bgtop.view.text import clean
from bgtop.view.ui import Visit

_ABOUT: Final = ("queue", "worker", "job")
_WORDS: Final = (*FIRST_PAGES, *_ABOUT, "help", "quit")
_AS_IN_VI: Final = frozenset({"q", "q!", "qa"})


def destination(text: str, frame: Frame) -> Visit | str:
    """A page; ``quit`` or ``help``; else why there is none. The beginning of a word will do."""
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if not word:
        return f"go where? {' '.join(_WORDS)}"
    word = "quit" if not rest and word in _AS_IN_VI else word
    found = [name for name in _WORDS if name.startswith(word)]
    name = word if word in _WORDS else found[0] if found else ""
    if not name:
        return f"no page {clean(word)}, but {' '.join(_WORDS)}"
    if name not in _ABOUT:
        return name if name in {"help", "quit"} else Visit(page=name)
    if not rest:
        return f"{name} needs a {'id' if name == 'job' else 'name'} after it"
    if name == "job":
        return Visit(page="job", subject=("", rest))
    ids = _ids(name, frame)
    subject = next((i for i in ids if i[1] == rest), None)
    subject = subject or next((i for i in ids if rest in i[1]), None)
    return Visit(page=name, subject=subject) if subject else f"no {name} {clean(rest)}"


def _ids(name: str, frame: Frame) -> Sequence[RowId]:
    if name == "queue":
        return [row.id for row in queue_rows(frame)]
    return [row.id for row in worker_rows(frame)] if name == "worker" else []


def completed(text: str, frame: Frame) -> str:
    """The text with what all its continuations share."""
    word, blank, rest = text.partition(" ")
    if not blank:
        found = [name for name in _WORDS if name.startswith(word)]
        shared = _shared(found, word)
        return f"{shared} " if found == [shared] and shared in _ABOUT else shared
    names = [name for _, name in _ids(word, frame) if name.startswith(rest)]
    shared = _shared(names, rest)
    return f"{word} {shared}" if shared.isprintable() else text


def _shared(names: Sequence[str], typed: str) -> str:
    """What all of them begin with; what was typed if there are none."""
    if not names:
        return typed
    first, last = min(names), max(names)
    same = (at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(same, min(len(first), len(last)))]
