"""Celery's events word for word, as far as single tasks and their workers are shown by them.

Nothing here raises, and nothing is believed: texts are cut, and what has another type than Celery
gives it is left out.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from bgtop.backends.celery.event_wire import KINDS
from bgtop.state.seen_tasks import FACTS
from bgtop.task_events import ToldEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OF_WORKERS: Final = frozenset({"worker-online", "worker-heartbeat", "worker-offline"})
_NUMBERS: Final = frozenset({"retries", "runtime"})
_USUAL: Final = 255
_TEXTS: Final = {
    **dict.fromkeys(("uuid", *(fact for fact in FACTS if fact not in _NUMBERS)), _USUAL),
    **dict.fromkeys(("args", "kwargs", "result", "exception"), 4096),
    "traceback": 16_384,
}
"""Letters that are kept of a text; Celery itself cuts arguments and results at 1024."""

_SHARED: Final = frozenset({"name", "exchange", "routing_key", "queue"})
"""Texts of which there are few: each is in memory once."""

_MOST_SHARED: Final = 10_000
_MOST_SECONDS: Final = 2**53
_LARGEST: Final = 32_000_000
_COST: Final = 1000
"""Bytes that an event takes, beside its texts."""


class ToldEvents:
    """What was told and not taken yet: at most so much, of which the oldest goes first."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, ToldEvent]] = deque()
        self._bytes = 0
        self._shared: dict[str, str] = {}

    def hear(self, body: object) -> None:
        """The body of a message: an event, or a list of them."""
        for fields in body if isinstance(body, list) else (body,):
            told = self._told(fields) if isinstance(fields, dict) else None
            if told is None:
                continue
            size = _COST + sum(len(text) for text in told.facts.values() if isinstance(text, str))
            self._kept.append((size, told))
            self._bytes += size
            while self._bytes > _LARGEST:
                self._bytes -= self._kept.popleft()[0]

    def take(self) -> tuple[ToldEvent, ...]:
        """Everything that came since it was taken last."""
        kept, self._kept, self._bytes = self._kept, deque(), 0
        return tuple([told for _, told in kept])

    def _told(self, fields: Mapping[str, object]) -> ToldEvent | None:
        kind, teller, at = fields.get("type"), fields.get("hostname"), fields.get("timestamp")
        if not isinstance(kind, str) or not (kind in KINDS or kind in _OF_WORKERS):
            return None
        if not isinstance(teller, str) or not _is_number(at):
            return None
        clock = fields.get("clock")
        return ToldEvent(
            self._once(kind),
            self._once(teller),
            float(at),  # type: ignore[arg-type]
            clock if type(clock) is int and 0 <= clock < _MOST_SECONDS else None,
            dict(self._facts(fields) if kind in KINDS else _of_worker(fields)),
        )

    def _facts(self, fields: Mapping[str, object]) -> Iterator[tuple[str, str | int | float]]:
        for name, value in fields.items():
            longest = _TEXTS.get(name)
            if longest is None:
                if name in _NUMBERS and _is_number(value):
                    yield name, value  # type: ignore[misc]
            elif isinstance(value, str) and (name != "uuid" or len(value) <= longest):
                yield name, self._once(value) if name in _SHARED else value[:longest]

    def _once(self, text: str) -> str:
        """The text, cut, from a memory that holds each once."""
        text = text[:_USUAL]
        if len(self._shared) >= _MOST_SHARED:
            self._shared.clear()
        return self._shared.setdefault(text, text)


def _of_worker(fields: Mapping[str, object]) -> Iterator[tuple[str, str | float]]:
    freq, software = fields.get("freq"), fields.get("sw_ident")
    if _is_number(freq):
        yield "freq", freq  # type: ignore[misc]
    if isinstance(software, str):
        yield "sw_ident", software[:_USUAL]


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and -_MOST_SECONDS < value < _MOST_SECONDS  # type: ignore[operator]
