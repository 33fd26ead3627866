"""What is asked of the broker to tell workers from those who only enqueue, and to see them live."""

from __future__ import annotations

from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.dramatiq.agent_words import LONGEST, words_in
from bgtop.backends.dramatiq.roster import Look, Roster, Traffic
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import Request, pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply

MOST_PROCESSES = 2_000
"""Those heard last; each start of a process leaves a member until Dramatiq's maintenance."""

SETS_PER_POLL = 1_000
"""Pairs of process and queue that are asked for fetched messages; more take turns."""

_LONGEST_PROCESS = 64


class Workers:
    """Keeps the roster up to date: per poll ``requests``, then ``absorb``."""

    def __init__(self, keys: Keys, dead_after: float) -> None:
        self.roster = Roster(dead_after)
        self.trouble: str | None = None
        """Why workers cannot be told at present."""
        self._keys = keys
        self._pairs: list[tuple[bytes, bytes]] = []
        self._turn = 0
        self._listed: list[bytes] = []
        self._unheard: set[bytes] = set()
        self._asks_traffic = True
        self._may_ask_traffic = True

    def start_over(self) -> None:
        """After a lost connection."""
        self.roster.start_over()
        self._may_ask_traffic = True

    def requests(self, lists: Sequence[bytes]) -> list[Request]:
        """What to ask; ``lists`` are those of which messages are held by somebody."""
        self._listed = [*self.roster.processes]
        self._choose_pairs(lists)
        self.roster.forget_held(lists)
        wanted = not self._listed or self.roster.is_anyone_unproved()
        self._asks_traffic = self._may_ask_traffic and wanted
        beats = ("ZREVRANGE", self._keys.heartbeats, 0, MOST_PROCESSES - 1, "WITHSCORES")
        agents = [("GETRANGE", self._keys.agent(p), 0, LONGEST - 1) for p in self._listed]
        held = [("SCARD", self._keys.acks(*pair)) for pair in self._pairs]
        traffic = [("INFO", "commandstats")] if self._asks_traffic else []
        return [pack(beats, *traffic, *agents, *held)]

    def _choose_pairs(self, lists: Sequence[bytes]) -> None:
        """The next part of all pairs, in turn; all of them where they are few."""
        processes = self._listed
        total = len(lists) * len(processes)
        count = min(total, SETS_PER_POLL)
        start = self._turn if self._turn < total else 0
        numbers = ((start + i) % total for i in range(count))
        self._pairs = [(processes[n % len(processes)], lists[n // len(processes)]) for n in numbers]
        self._turn = start + count

    def absorb(self, replies: Sequence[Reply], holders: Iterable[bytes], now: float) -> None:
        """Take the replies to ``requests``; ``holders`` own fetched messages by their keys."""
        left = iter(replies)
        beats = next(left)
        traffic = self._traffic(next(left)) if self._asks_traffic else None
        self.trouble = None
        if isinstance(beats, ReplyError):
            reason = "is no sorted set" if code_of(beats) == "WRONGTYPE" else "cannot be read"
            self.trouble = f"workers are not known: the key __heartbeats__ {reason}"
        before = frozenset(self._listed)
        self.roster.look(Look(_scores(beats), traffic, now))
        self._unheard = {p for p in self.roster.processes if p not in before}
        for process, reply in zip(self._listed, islice(left, len(self._listed)), strict=True):
            self.roster.hear(process, words_in(reply) if isinstance(reply, bytes) else None)
        for (process, source), reply in zip(self._pairs, left, strict=True):
            self.roster.held(process, source, reply if isinstance(reply, int) else 0)
        self.roster.prove(holders)

    def _traffic(self, reply: Reply) -> Traffic | None:
        if isinstance(reply, ReplyError):
            self._may_ask_traffic = False
        return _calls(reply) if isinstance(reply, bytes) else None

    def is_sure(self) -> bool:
        """Whether every process was asked for its agent, and none is just about to prove itself."""
        return self.trouble is not None or (not self._unheard and self.roster.is_sure())

    def warning(self) -> str | None:
        """What may mislead in the list of workers."""
        count = self.roster.unknown()
        if self.trouble is not None or not count:
            return self.trouble
        who = "1 process" if count == 1 else f"{count} processes"
        why = "" if self._may_ask_traffic else "; the right to INFO would help to tell"
        return f"{who} may be workers or only enqueue, and never pause{why}"


def _scores(beats: Reply) -> dict[bytes, float]:
    """Process ids and their scores in seconds."""
    found: dict[bytes, float] = {}
    words = beats if isinstance(beats, list) else []
    for process, score in zip(words[::2], words[1::2], strict=False):
        if isinstance(process, bytes) and isinstance(score, bytes):
            try:
                seconds = float(score) / 1000
            except ValueError:
                continue
            if 0 < len(process) <= _LONGEST_PROCESS and isfinite(seconds):
                found[process] = seconds
    return found


def _calls(info: bytes) -> Traffic:
    """Calls of the two commands, also by scripts; one that never ran is absent."""
    calls = {b"rpush": 0, b"lpop": 0}
    for line in info.split(b"\r\n"):
        name, _, rest = line.removeprefix(b"cmdstat_").partition(b":calls=")
        number = rest.partition(b",")[0]
        if name in calls and number.isdigit():
            calls[name] = int(number)
    return Traffic(calls[b"rpush"], calls[b"lpop"])
