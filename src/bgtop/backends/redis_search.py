"""Finding keys nobody listed for us, without ever stalling the server that holds them.

SCAN, two hundred keys a step (0.15 ms of a slow server's time in a database of a million keys; KEYS
would block it for 115 ms), one step riding along with each trip, and a pause after each pass. Where
several sources read one database, one of them searches, and the others are told what they look for.
"""

from __future__ import annotations

import re
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from bgtop.backends.redis_connection import Reply

    Command: TypeAlias = Sequence[bytes | str | int]

KEYS_PER_SCAN = 200
"""A step of a thousand takes up to 1.5 ms, in which the server answers nobody else."""

STEPS_OF_FIRST_POLLS = 50
SECONDS_OF_FIRST_POLLS = 1.0
"""What a poll may add until all has been found once: 10,000 keys, fewer over a slow network."""

STEPS_BEFORE_AN_ACTION = 100
"""What an action may add, where keys are many."""

SECONDS_BETWEEN_PASSES = 30.0
SECONDS_BETWEEN_SMALL_PASSES = 5.0
FEW_KEYS = 5_000
"""Up to so many keys a pass is a few dozen short commands, and may be repeated more often."""

MOST_UNHEARD = 200_000
"""Names kept for a source that does not take them: it is told all of them again later."""


def first_steps(
    complete: Callable[[], bool], began: float, steps: int = STEPS_OF_FIRST_POLLS
) -> Iterator[int]:
    """The steps a poll may add until all is found; ``began`` is when it did (monotonic)."""
    for step in range(steps):
        if complete() or monotonic() - began > SECONDS_OF_FIRST_POLLS:
            return
        yield step


class Step(NamedTuple):
    """What one step brought: keys that match the pattern of this number, the last ones or not."""

    keys: list[bytes]
    pattern: int
    ended: bool
    began: bool = False
    """Whether these are the first ones of a pass for this pattern."""


class KeySearch:
    """Passes over the key space, for one pattern after the other.

    ``commands`` says what to ask in the next round trip, ``absorb`` takes its replies. With
    ``shared`` somebody else searches the same keys: then there is nothing to ask, and ``heard``
    gives the steps.
    """

    def __init__(
        self,
        *patterns: bytes,
        pause: float = SECONDS_BETWEEN_PASSES,
        shared: object | None = None,
    ) -> None:
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
        self._ear = shared.listen(*patterns) if isinstance(shared, SharedSearch) else None

    @property
    def progress(self) -> str:
        """How far the pass is, in words."""
        return f"{self.scanned:,} of about {self.keys:,} keys read"

    @property
    def under_way(self) -> bool:
        """Whether a pass has begun and not ended."""
        return self._cursor is not None

    @property
    def is_done_asking(self) -> bool:
        """Whether more steps in the same poll would find nothing more."""
        return self.complete or self._ear is not None

    def start_over(self) -> None:
        """Begin a new pass at the next step: a cursor is worth nothing to another server."""
        self._cursor = None
        self.hurry()

    def look_again(self) -> None:
        """Begin a new pass: other names are of interest now."""
        self.start_over()
        if self._ear is not None:
            self._ear.listen_again()

    def hurry(self) -> None:
        """Let the next pass begin at once, because something new was seen."""
        self._next_pass_at = float("-inf")
        if self._ear is not None:
            self._ear.impatient = True

    def begins(self, now: float) -> bool:
        """Whether the next step is the first of a pass; ``now`` is a monotonic clock."""
        return self._ear is None and self._cursor is None and now >= self._next_pass_at

    def heard(self) -> list[Step]:
        """What the shared search has brought since this was asked last; to be asked once a poll."""
        ear = self._ear
        if ear is None:
            return []
        self.scanned, self.keys, self.refusal = ear.source.state
        # In this order: what was told until it was complete is taken with it.
        self.complete = self.complete or ear.complete
        return ear.take()

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
                    step = Step(found, self._pattern, cursor == b"0", command[1] == b"0")
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


def steps_of_a_new_pass(search: KeySearch) -> Iterator[int]:
    """The steps to take before an action, so that it knows the names there are now.

    They end with the pass, or when they are many: then a name that is new may be missed.
    """
    search.start_over()
    for step in range(STEPS_BEFORE_AN_ACTION):
        yield step
        if not search.under_way:
            return


class SharedSearch(KeySearch):
    """Passes over all names, on behalf of everybody who listens.

    It belongs to the thread that polls; who listens may do so in a thread of his own.
    """

    def __init__(self, pause: float = SECONDS_BETWEEN_PASSES) -> None:
        super().__init__(b"*", pause=pause)
        self._ears: list[_Ear] = []
        self.state: tuple[int, int, ReplyError | None] = (0, 0, None)
        """Keys looked at in this pass, keys of the database, and why they may not be listed."""

    @property
    def told_everybody(self) -> bool:
        """Whether all who listen have heard a whole pass."""
        return all(ear.complete for ear in self._ears)

    def listen(self, *patterns: bytes) -> _Ear:
        """Be told the names that match, from now on; may be called from any thread."""
        ear = _Ear(self, patterns)
        self._ears.append(ear)
        return ear

    def commands(self, now: float) -> list[Command]:
        """The next step; a pass begins at once where somebody waits for one."""
        if not self.under_way and any(ear.impatient for ear in self._ears):
            self.hurry()
        return super().commands(now)

    def absorb(self, replies: Sequence[Reply], now: float) -> Step | None:
        """Take the replies to ``commands``, and pass on what they tell."""
        step = super().absorb(replies, now)
        self.state = self.scanned, self.keys, self.refusal
        for ear in self._ears:
            if step is not None:
                ear.hear(step)
            elif self.refusal is not None:
                ear.impatient, ear.complete = False, True
        return step


class _Ear:
    """What one listener was told and has not taken yet.

    Filled by the thread that searches and emptied by another; each flag is set by one of them.
    """

    def __init__(self, source: SharedSearch, patterns: Sequence[bytes]) -> None:
        self.source = source
        self.complete = False
        """Whether a whole pass was heard."""
        self.impatient = True
        """Whether a pass should begin as soon as the one under way has ended."""
        self._wanted = [_Glob(pattern) for pattern in patterns]
        self._told: deque[Step] = deque()
        self._unheard = 0
        self._from_the_start = False
        """Whether the pass under way was heard from its first step on."""
        self._later: list[list[bytes]] = [[] for _ in patterns]

    def listen_again(self) -> None:
        """Wish for another whole pass."""
        self._from_the_start, self.impatient = False, True

    def hear(self, step: Step) -> None:
        """Note the names that are wanted. As in a search of one's own, patterns come in turn."""
        if step.began:
            self._from_the_start, self.impatient = True, False
            self._later = [[] for _ in self._wanted]
        whole = self._from_the_start and step.ended
        for number, glob in enumerate(self._wanted):
            keys = glob.matching(step.keys)
            if number:
                later = self._later[number]
                later += keys[: MOST_UNHEARD - len(later)]
            elif keys or step.began or whole:
                self._tell(Step(keys, 0, whole, step.began))
        if whole:
            for number, keys in enumerate(self._later[1:], 1):
                self._tell(Step(keys, number, ended=True, began=True))
            self.complete = True

    def _tell(self, step: Step) -> None:
        self._told.append(step)
        self._unheard += len(step.keys)
        if self._unheard > MOST_UNHEARD:
            self._told.clear()
            self._unheard = 0
            self.listen_again()

    def take(self) -> list[Step]:
        """Everything told so far."""
        self._unheard = 0
        return [self._told.popleft() for _ in range(len(self._told))]


class _Glob:
    r"""A pattern of Redis, matched here: ``*``, ``?``, ``[abc]`` and ``\``."""

    def __init__(self, pattern: bytes) -> None:
        parts = re.split(rb"(\\.|\[[^\]]*\]|\*|\?)", pattern, flags=re.DOTALL)
        literal = [
            part[1:] if part[:1] == b"\\" else b"" if number % 2 else part
            for number, part in enumerate(parts)
        ]
        self._needle = max(literal, key=len)
        wild = {b"*": b".*", b"?": b"."}
        ours = (
            wild.get(part, part if part[:1] == b"[" and number % 2 else re.escape(literal[number]))
            for number, part in enumerate(parts)
        )
        self._fits = re.compile(b"".join(ours), re.DOTALL).fullmatch

    def matching(self, names: Sequence[bytes]) -> list[bytes]:
        """Those of the names that match: first what costs little, as nearly none of them does."""
        needle, fits = self._needle, self._fits
        return [name for name in names if needle in name and fits(name)]
