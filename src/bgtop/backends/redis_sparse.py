"""The same question about many names whose keys mostly do not exist: an empty list has no key.

Those whose keys held something are asked one by one. Of the others, one EXISTS over a hundred says
that none has appeared; only where one has, all of that hundred are asked, in a second trip. So ten
thousand empty queues cost a hundred short answers, and twenty cost one. At the first look a few
names are simply asked, which needs no second trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_search import Command

    Keys: TypeAlias = Callable[[bytes], Sequence[bytes]]
    """The keys of a name."""

    Question: TypeAlias = Callable[[bytes], Sequence[Command]]
    """What is asked about a name of which a key exists: always as many commands."""

    Answers: TypeAlias = dict[int, Reply]

FEW = 1_000
"""Up to so many names are asked one by one at the first look, whether their keys exist or not."""

NAMES_PER_EXISTS = 100
"""So that no single EXISTS occupies the server for more than some 100 µs."""

_ABSENT, _HOLDS = 0, 1

LOOKS_UNTIL_ABSENT = 30
"""How often one may be found empty before it is taken for absent: queues run empty and fill."""


class SparseKeys:
    """Asks ``question`` of many names: ``requests``, then ``suspects``, each with its ``absorb``.

    Where a trip goes before that anyway, ``presence`` may ride with it, then ``known`` and
    ``suspects`` with the next one.

    Afterwards ``answers`` holds what was said of each that holds something, by its place: the
    reply to a question of one command, a list of replies to one of several. Of all others every
    reply would have been zero or empty.
    """

    def __init__(
        self, names: Sequence[bytes], keys: Keys, question: Question, *, steady: bool = True
    ) -> None:
        """A question is ``steady`` if it never changes, and so is packed once."""
        self.answers: Answers = {}
        self._changed: dict[int, None] = {}
        ask = _Ask(keys, question, steady, dense=len(names) <= FEW)
        self._groups = [
            _Group(names, start, ask) for start in range(0, len(names), NAMES_PER_EXISTS)
        ]
        self._suspects: list[_Group] = []

    def requests(self) -> list[Request]:
        """What to ask in the first round trip: ``known`` and ``presence``."""
        return [*self.known(), *self.presence()]

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        known = sum(group.known for group in self._groups)
        self.absorb_presence(replies[known:])
        self.absorb_known(replies[:known])

    def presence(self) -> list[Request]:
        """Ask whether something has appeared that was absent."""
        asked = (group.presence() for group in self._groups)
        return [request for request in asked if request is not None]

    def absorb_presence(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``presence``."""
        partly = (group for group in self._groups if group.any_absent)
        # Where EXISTS is refused (one key beyond an ACL pattern is enough), all are asked.
        self._suspects = [group for group, found in zip(partly, replies, strict=True) if found != 0]
        for group in self._suspects:
            group.choose()

    def known(self) -> list[Request]:
        """Ask about those that held something of late, one by one."""
        asked = (group.requests() for group in self._groups)
        return [request for request in asked if request is not None]

    def absorb_known(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``known``."""
        start = 0
        for group in self._groups:
            end = start + group.known
            if end > start:
                self._changed.update(group.absorb(replies[start:end], self.answers))
            start = end

    def suspects(self) -> list[Request]:
        """What to ask in a second round trip: the hundreds in which something has appeared."""
        return [group.probe() for group in self._suspects]

    def absorb_suspects(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``suspects``."""
        start = 0
        for group in self._suspects:
            end = start + group.probed
            self._changed.update(group.absorb_probe(replies[start:end], self.answers))
            start = end
        self._suspects = []

    def changes(self) -> Iterator[tuple[int, Reply]]:
        """The answers that are new since this was last asked; ``None`` where there is none now.

        A refusal differs from every other, so it is told again at each poll.
        """
        # A poll may fail between an answer and this: what it brought is told by the next one.
        changed, self._changed = self._changed, {}
        for place in changed:
            yield place, self.answers.get(place)


class _Ask(NamedTuple):
    """What all groups of names have in common."""

    keys: Keys
    question: Question
    steady: bool
    dense: bool


class _Group:
    """Up to a hundred of all ``names``; ``first`` is the place of the first one among them."""

    __slots__ = (
        *("_ask", "_asked", "_exists", "_first", "_last", "_looks", "_names", "_probed", "_size"),
        "_width",
    )

    def __init__(self, names: Sequence[bytes], first: int, ask: _Ask) -> None:
        self._first = first
        self._names = names
        self._size = min(NAMES_PER_EXISTS, len(names) - first)
        self._ask = ask
        self._width = len(ask.question(names[first]))
        begins = _HOLDS + LOOKS_UNTIL_ABSENT if ask.dense else _ABSENT
        self._looks = bytearray([begins]) * self._size
        """Of each: that it is absent, or that it holds something, and by how many looks in a row
        it was found empty since. Bytes, as there are tens of thousands."""
        self._asked: Request | None = None
        self._exists: Request | None = None
        self._last: Sequence[Reply] | None = None
        """What was said at the last look about the same names."""
        self._probed: tuple[int, ...] = ()

    @property
    def known(self) -> int:
        """How many replies ``requests`` bring."""
        return (self._size - self._looks.count(_ABSENT)) * self._width

    @property
    def any_absent(self) -> bool:
        """Whether there is something to ask the presence of."""
        return _ABSENT in self._looks

    @property
    def probed(self) -> int:
        """How many replies ``probe`` brings."""
        return len(self._probed) * self._width

    def _absent(self) -> Iterator[int]:
        return (i for i, looks in enumerate(self._looks) if looks == _ABSENT)

    def _present(self) -> list[int]:
        """The places of those that are asked one by one."""
        return [i for i, looks in enumerate(self._looks) if looks != _ABSENT]

    def requests(self) -> Request | None:
        if not self.known:
            return None
        if self._asked is None or not self._ask.steady:
            self._asked = self._about(self._present())
        return self._asked

    def presence(self) -> Request | None:
        if not self.any_absent:
            return None
        if self._exists is None:
            absent = (self._names[self._first + i] for i in self._absent())
            keys = self._ask.keys
            self._exists = pack(("EXISTS", *(key for name in absent for key in keys(name))))
        return self._exists

    def _about(self, places: Iterable[int]) -> Request:
        names, first, question = self._names, self._first, self._ask.question
        return pack(*(command for i in places for command in question(names[first + i])))

    def absorb(self, replies: Sequence[Reply], answers: Answers) -> dict[int, None]:
        if replies == self._last:
            # Usual, and much cheaper than to look at each.
            changed: dict[int, None] = {}
            if max(self._looks) > _HOLDS:
                self._looks = bytearray([n + 1 if n > _HOLDS else n for n in self._looks])
        else:
            places = self._present()
            changed = self._take(places, replies, answers)
            self._last = self._kept(places, replies, answers)
        self._forget()
        return changed

    def _kept(
        self, places: Sequence[int], replies: Sequence[Reply], answers: Answers
    ) -> list[Reply]:
        """The same replies, made of what is kept of them anyway: so they are in memory once."""
        first, width = self._first, self._width
        if width == 1:
            return [answers.get(first + i, reply) for i, reply in zip(places, replies, strict=True)]
        kept: list[Reply] = []
        for number, place in enumerate(places):
            known = answers.get(first + place)
            said = replies[number * width : (number + 1) * width]
            kept += known if isinstance(known, list) else said
        return kept

    def _take(
        self, places: Sequence[int], replies: Sequence[Reply], answers: Answers
    ) -> dict[int, None]:
        changed: dict[int, None] = {}
        width, looks = self._width, self._looks
        for number, place in enumerate(places):
            at = self._first + place
            if width == 1:
                reply, holds = replies[number], bool(replies[number])
            else:
                reply = [*replies[number * width : (number + 1) * width]]
                holds = any(reply)
            if holds:
                # What was said before is kept, so that equal answers are in memory once.
                if answers.get(at) != reply:
                    answers[at] = reply
                    changed[at] = None
                looks[place] = _HOLDS
            else:
                if answers.pop(at, None) is not None:
                    changed[at] = None
                if looks[place] != _ABSENT:
                    looks[place] += 1
        return changed

    def _forget(self) -> None:
        most = _HOLDS + LOOKS_UNTIL_ABSENT
        if max(self._looks) > most:
            self._looks = bytearray([_ABSENT if n > most else n for n in self._looks])
            self._asked = self._exists = self._last = None

    def choose(self) -> None:
        """Ask about all that were said to be absent, as one of them is not."""
        self._probed = tuple(self._absent())

    def probe(self) -> Request:
        return self._about(self._probed)

    def absorb_probe(self, replies: Sequence[Reply], answers: Answers) -> dict[int, None]:
        known = self.known
        changed = self._take(self._probed, replies, answers)
        if self.known > known:
            self._asked = self._exists = self._last = None
        return changed
