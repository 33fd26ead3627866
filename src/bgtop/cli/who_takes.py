"""Asking workers what they take from, where neither the broker nor anything else tells."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from bgtop.contracts import BackendError
from bgtop.state import consumers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgtop.model import Frame
    from bgtop.sampler import Feed

_SECONDS_TO_ANSWER: Final = 2.0


def asked(frame: Frame, feeds: Iterable[Feed]) -> Frame:
    """The frame with what workers answer: nobody is asked where no jobs wait for it."""
    inspectors = {feed.key: feed.inspector for feed in feeds}
    for source in consumers.unknown_at(frame):
        inspector = inspectors.get(source.key)
        if inspector is None:
            continue
        with closing(inspector()) as asking, suppress(BackendError):
            # Who may not ask knows as little as before.
            told = asking.workers((consumers.QUESTION,), None, _SECONDS_TO_ANSWER)
            answers = consumers.Answers(told, asking.silent, asking.prefixes)
            frame = consumers.with_answers(frame, source.key, answers)
    return frame
