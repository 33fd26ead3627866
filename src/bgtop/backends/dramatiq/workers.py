"""What is asked of the broker to tell workers from those who only enqueue, and to see them live."""

from __future__ import annotations

from math import isfinite
from time import time
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.dramatiq.agent_words import LONGEST, words_in
from bgtop.backends.dramatiq.roster import Look, Roster, Traffic
from bgtop.backends.dramatiq.wire import DELAYED
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import pack
from bgtop.backends.redis_sparse import SparseKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_search import Command

MOST_PROCESSES = 2_000
"""Those heard last; each start of a process leaves a member until Dramatiq's maintenance."""

SETS_PER_QUESTION = 100
"""Sets of fetched messages one process may own, asked for by one EXISTS."""

QUESTIONS_PER_POLL = 200
"""Some 4 ms of the server's time; where there are more, they take turns."""

_LONGEST_PROCESS = 64


class Workers:
    """Keeps the roster up to date; the calls of a poll come in the order written here."""

    def __init__(self, keys: Keys, dead_after: float) -> None:
        self.roster = Roster(dead_after)
        self.trouble: str | None = None
        """Why workers cannot be told at present."""
        self._keys = keys
        self._held: list[_Held] = []
        self._turn = 0
        self._has_gone_round = False
        """Whether each process was asked once what it holds, of all lists there were."""
        self._listed: list[bytes] = []
        self._agents = self._agents_of(())
        self._asked_agents: tuple[bytes, ...] | None = None
        self._unheard: set[bytes] = set()
        self._asks_traffic = True
        self._may_ask_traffic = True

    def start_over(self) -> None:
        """After a lost connection."""
        self.roster.start_over()
        self._may_ask_traffic = True

    def _agents_of(self, processes: Sequence[bytes]) -> SparseKeys:
        """Most applications have no agent, and so none of these keys."""
        key = self._keys.agent
        return SparseKeys(processes, lambda p: (key(p),), lambda p: (_beginning_of(key(p)),))

    def parts(self, lists: Sequence[bytes]) -> list[Part]:
        """What to ask first; ``lists`` are those of which messages are held by somebody."""
        self._listed = [*self.roster.processes]
        if self._asked_agents != (listed := tuple(self._listed)):
            self._agents = self._agents_of(listed)
        groups = _groups(lists)
        self._choose(groups)
        self.roster.forget_held(groups)
        wanted = not self._listed or self.roster.is_anyone_unproved()
        self._asks_traffic = self._may_ask_traffic and wanted
        beats: Command = ("ZREVRANGE", self._keys.heartbeats, 0, MOST_PROCESSES - 1, "WITHSCORES")
        traffic: list[Command] = [("INFO", "commandstats")] if self._asks_traffic else []
        held = [pack(("EXISTS", *one.sets)) for one in self._held]
        return [
            ([pack(beats, *traffic)], self._absorb_beats),
            (held, self._absorb_held),
            (self._agents.requests(), self._agents.absorb),
        ]

    def _choose(self, groups: Mapping[bytes, Sequence[bytes]]) -> None:
        """The next part of all questions, in turn; all of them where they are few."""
        total = len(groups) * len(self._listed)
        count = min(total, QUESTIONS_PER_POLL)
        start = self._turn if self._turn < total else 0
        sources, acks = [*groups], self._keys.acks
        self._held = []
        for number in (n % total for n in range(start, start + count)):
            process, source = self._listed[number // len(sources)], sources[number % len(sources)]
            sets = [acks(process, queue) for queue in groups[source]]
            self._held.append(_Held(process, source, sets))
        self._turn = start + count
        self._has_gone_round = self._has_gone_round or 0 < total <= self._turn

    def _absorb_beats(self, replies: Sequence[Reply]) -> None:
        beats = replies[0]
        traffic = self._traffic(replies[1]) if self._asks_traffic else None
        self.trouble = None
        if isinstance(beats, ReplyError):
            reason = "is no sorted set" if code_of(beats) == "WRONGTYPE" else "cannot be read"
            self.trouble = f"workers are not known: the key __heartbeats__ {reason}"
        before = frozenset(self._listed)
        self.roster.look(Look(_scores(beats), traffic, time()))
        self._unheard = {p for p in self.roster.processes if p not in before}

    def _absorb_held(self, replies: Sequence[Reply]) -> None:
        for one, reply in zip(self._held, replies, strict=True):
            self.roster.held(one.process, one.source, reply if isinstance(reply, int) else 0)

    def parts_left_open(self) -> list[Part]:
        """What to ask next: agents that have appeared."""
        return [(self._agents.suspects(), self._agents.absorb_suspects)]

    def settle(self, holders: Iterable[bytes]) -> None:
        """Take what agents say; ``holders`` own fetched messages by their keys."""
        listed = tuple(self._listed)
        if self._asked_agents != listed:
            self._asked_agents = listed
            for process in listed:
                self.roster.hear(process, None)
        for place, reply in self._agents.changes():
            words = words_in(reply) if isinstance(reply, bytes) else None
            self.roster.hear(listed[place], words)
        self.roster.prove(holders)

    def _traffic(self, reply: Reply) -> Traffic | None:
        if isinstance(reply, ReplyError):
            self._may_ask_traffic = False
        return _calls(reply) if isinstance(reply, bytes) else None

    def is_sure(self, lists: Sequence[bytes]) -> bool:
        """Whether every process was asked for its agent, and none is just about to prove itself.

        ``lists`` are those of which messages are held by now: who holds them is asked a poll later,
        and until then a busy worker would pass for an idle one.
        """
        if self.trouble is not None:
            return True
        has_asked = self._has_gone_round or not lists or not self.roster.processes
        return has_asked and not self._unheard and self.roster.is_sure()

    def warning(self) -> str | None:
        """What may mislead in the list of workers."""
        count = self.roster.unknown()
        if self.trouble is not None or not count:
            return self.trouble
        who = "1 process" if count == 1 else f"{count} processes"
        why = "" if self._may_ask_traffic else "; the right to INFO would help to tell"
        return f"{who} may be workers or only enqueue, and never pause{why}"


class _Held(NamedTuple):
    """Whether a process owns any of these sets; ``source`` is what the roster calls them."""

    process: bytes
    source: bytes
    sets: Sequence[bytes]


def _groups(lists: Sequence[bytes]) -> dict[bytes, Sequence[bytes]]:
    """Lists asked about together, those of delayed messages apart from the others."""
    found: dict[bytes, Sequence[bytes]] = {}
    for ending in (b"", DELAYED):
        some = [one for one in lists if one.endswith(DELAYED) == bool(ending)]
        for start in range(0, len(some), SETS_PER_QUESTION):
            found[b"%d%s" % (start, ending)] = some[start : start + SETS_PER_QUESTION]
    return found


def _beginning_of(key: bytes) -> Command:
    return "GETRANGE", key, 0, LONGEST - 1


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
