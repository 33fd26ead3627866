"""Finding keys nobody listed for us, without ever stalling the server that holds them.

SCAN, some hundred keys a step (0.2 ms of the server's time in a database of a million keys; KEYS
would block it for 115 ms), one step riding along with each trip, and a pause after each pass.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from bgtop.backends.redis_connection import Reply

    Command: TypeAlias = Sequence[bytes | str | int]

KEYS_PER_SCAN = 400
"""A step of a thousand takes up to 1.5 ms, in which the server answers nobody else."""

STEPS_OF_FIRST_POLLS = 25
SECONDS_OF_FIRST_POLLS = 1.0
"""What a poll may add until all has been found once: 10,000 keys, fewer over a slow network."""

SECONDS_BETWEEN_PASSES = 30.0
SECONDS_BETWEEN_SMALL_PASSES = 5.0
FEW_KEYS = 5_000
"""Up to so many keys a pass is a handful of commands, and may be repeated more often."""


def first_steps(complete: Callable[[], bool], began: float) -> Iterator[int]:
    """The steps a poll may add until all is found; ``began`` is when it did (monotonic)."""
    for step in range(STEPS_OF_FIRST_POLLS):
        if complete() or monotonic() - began > SECONDS_OF_FIRST_POLLS:
            return
        yield step


class Step(NamedTuple):
    """What one step brought: keys that match the pattern of this number, the last ones or not."""

    keys: list[bytes]
    pattern: int
    ended: bool


class KeySearch:
    """Passes over the key space, for one pattern after the other.

    ``commands`` says what to ask in the next round trip, ``absorb`` takes its replies.
    """

    def __init__(self, *patterns: bytes, pause: float = SECONDS_BETWEEN_PASSES) -> None:
        self.complete = False
        """Whether every key was held against the first pattern once, or may not be."""
        self.scanned = 0
        """Keys looked at in the pass under way."""
        self.keys = 0
        """Keys in the database when the pass began."""
        self.refusal: ReplyError | None = None
        """Why keys may not be listed."""
        self._patterns = patterns
        self._pause = pause
        self._pattern = 0
        self._cursor: bytes | None = None
        self._next_pass_at = float("-inf")
        self._asked: list[Command] = []

    @property
    def progress(self) -> str:
        """How far the pass is, in words."""
        return f"{self.scanned:,} of about {self.keys:,} keys read"

    @property
    def under_way(self) -> bool:
        """Whether a pass has begun and not ended."""
        return self._cursor is not None

    def start_over(self) -> None:
        """Begin a new pass at the next step: a cursor is worth nothing to another server."""
        self._cursor = None
        self.hurry()

    def hurry(self) -> None:
        """Let the next pass begin at once, because something new was seen."""
        self._next_pass_at = float("-inf")

    def begins(self, now: float) -> bool:
        """Whether the next step is the first of a pass; ``now`` is a monotonic clock."""
        return self._cursor is None and now >= self._next_pass_at

    def commands(self, now: float) -> list[Command]:
        """What to ask in the next round trip: nothing during a pause."""
        self._asked = []
        if self.begins(now):
            self._cursor, self._pattern, self.scanned = b"0", 0, 0
            self._asked.append(("DBSIZE",))
        if self._cursor is not None:
            pattern = self._patterns[self._pattern]
            self._asked.append(("SCAN", self._cursor, "MATCH", pattern, "COUNT", KEYS_PER_SCAN))
        return self._asked

    def absorb(self, replies: Sequence[Reply], now: float) -> Step | None:
        """Take the replies to the last ``commands``; ``None`` if they brought no keys."""
        step = None
        for command, reply in zip(self._asked, replies, strict=True):
            match command[0], reply:
                case "DBSIZE", int(keys):
                    self.keys = keys
                case "SCAN", [bytes(cursor), list(keys)]:
                    found = [key for key in keys if isinstance(key, bytes)]
                    step = Step(found, self._pattern, cursor == b"0")
                    self._advance(cursor, now)
                case "SCAN", ReplyError() as refusal:
                    self.refusal = refusal
                    self._finish(now)
        self._asked = []
        return step

    def _advance(self, cursor: bytes, now: float) -> None:
        self.scanned += KEYS_PER_SCAN
        self.refusal = None
        self._cursor = cursor
        if cursor != b"0":
            return
        self.complete = True
        self._pattern += 1
        if self._pattern == len(self._patterns):
            self._finish(now)

    def _finish(self, now: float) -> None:
        self.complete = True
        self._cursor = None
        small = self.keys <= FEW_KEYS
        self._next_pass_at = now + (SECONDS_BETWEEN_SMALL_PASSES if small else self._pause)
