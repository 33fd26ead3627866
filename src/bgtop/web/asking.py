"""Asking workers what they know, for however many clients: one question at a time, remembered.

Asking writes messages and costs each worker some milliseconds. So equal questions of many clients
are one, what was answered a moment ago is not asked again, and all of it happens in a thread of its
own, which nobody who watches waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.contracts import BackendError
from bgtop.source_url import redacted_in
from bgtop.state.redaction import redaction_of
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from bgtop.contracts import Inspector

SECONDS: Final = 1.0
"""How long answers are waited for; those who answer later are left out."""

_FRESH: Final = 1.0
"""Seconds for which an answer is good enough for the same question."""

_MOST_WAITING: Final = 16
_MOST_WORKERS: Final = 5000
"""Workers that are remembered of a source: those of dynamic names come and go for ever."""


class Question(NamedTuple):
    """What is asked of one worker, or of all, of a source (its key)."""

    source: str
    worker: str | None
    what: tuple[str, ...]


@dataclass(slots=True)
class Said:
    """What one worker answered last to each question, and when that was (epoch seconds)."""

    at: float
    facts: dict[str, Any] = field(default_factory=dict)


Answers = Mapping[str, Mapping[str, Any]]
"""By worker what it answered to each question it was asked."""


class Asking:
    """Used from the thread of the server. ``openers`` may grow; ``redact`` is the setting."""

    def __init__(self, openers: Mapping[str, Callable[[], Inspector]], redact: str) -> None:
        self._openers, self._redaction = openers, redaction_of(redact)
        self._inspectors: dict[str, Inspector] = {}
        self._said: dict[str, dict[str, Said]] = {}
        self._under_way: dict[Question, asyncio.Future[Answers]] = {}
        self._ended: dict[Question, tuple[float, Answers]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ask workers")

    def said(self, source: str) -> Mapping[str, Said]:
        """By worker what is remembered."""
        return self._said.get(source, {})

    def can_ask(self, source: str) -> bool:
        """Whether the workers of this source answer questions at all."""
        return source in self._openers

    async def ask(self, question: Question) -> Answers:
        """Have this asked, unless it just was; what was answered, by those who did in time.

        Raises:
            BackendError: when nobody can be asked.
        """
        ended, answers = self._ended.get(question, (float("-inf"), {}))
        if time.monotonic() - ended < _FRESH:
            return answers
        if not self.can_ask(question.source):
            raise BackendError("the workers of this source cannot be asked")
        if question not in self._under_way:
            if len(self._under_way) >= _MOST_WAITING:
                raise BackendError("too much is being asked; try again later")
            asked = asyncio.ensure_future(self._ask(question))
            self._under_way[question] = asked
            asked.add_done_callback(lambda done: self._settled(question, done))
        # One client that goes away is no reason not to answer the others.
        return await asyncio.shield(self._under_way[question])

    def forget_freshness(self) -> None:
        """Something was changed: whatever is asked now is asked anew."""
        self._ended.clear()

    def close(self) -> None:
        """No more questions; one that waits for a broker ends."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for inspector in list(self._inspectors.values()):
            with contextlib.suppress(Exception):
                inspector.close()

    def _settled(self, question: Question, done: asyncio.Future[Answers]) -> None:
        self._under_way.pop(question, None)
        if not done.cancelled():
            done.exception()  # it is told to those who wait, if anybody still does

    async def _ask(self, question: Question) -> Answers:
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._thread, self._answers, question)
        now = time.monotonic()
        self._ended = {k: v for k, v in self._ended.items() if now - v[0] < _FRESH}
        self._ended[question] = now, answers
        known = self._said.setdefault(question.source, {})
        for worker, facts in answers.items():
            before = known.pop(worker, None)
            known[worker] = Said(time.time(), {**(before.facts if before else {}), **facts})
        while len(known) > _MOST_WORKERS:
            known.pop(next(iter(known)))
        return answers

    def _answers(self, question: Question) -> dict[str, dict[str, Any]]:
        """In the thread of its own."""
        key = question.source
        try:
            if key not in self._inspectors:
                self._inspectors[key] = self._openers[key]()
            names = None if question.worker is None else [question.worker]
            found = self._inspectors[key].workers(question.what, names, SECONDS)
        except BackendError as fault:
            raise BackendError(redacted_in(str(fault))) from None
        return {
            worker: {what: self._shown(value) for what, value in said.items() if _is_told(value)}
            for worker, said in found.items()
        }

    def _shown(self, value: object) -> object:
        return value if self._redaction is None else self._redaction.value(value)


def _is_told(value: object) -> bool:
    return not (isinstance(value, dict) and isinstance(value.get("error"), str))
