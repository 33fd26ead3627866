"""How long the oldest message of a list has waited at least: a fold over what was seen of the list.

Celery writes no time into a message, so the only times there are, are those at which we looked. A
message seen at time T and still in the list has waited since T or longer. That needs no assumption
about order: a message that is given back, at whichever end, is either known by its very bytes or
new to us, and then only weakens the bound.

Each look remembers the newest message, the *marker* of that moment. The oldest marker that is still
there bounds the age from below, and the one before it, which is gone, says by how much at most the
bound is too small: messages leave in the order in which they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_MARKERS = 8
LONGEST_MARKER = 4 * 1024
FIRST_SEARCH = 2
"""The oldest marker, and the one that is the oldest as soon as that has been taken."""


class Marker(NamedTuple):
    """A message and when it had been seen; ``at`` is never before it entered the list."""

    message: bytes
    at: float


class Sightings:
    """One list. Per look: search for ``to_find``, then ``look``; ``to_find_next``, ``found``."""

    __slots__ = ("_markers", "_open", "_tail", "length", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        """Since when, at the latest, the oldest message waits; ``None`` before the first look."""
        self.length = 0
        """Of the list, at the last look; for who looks to remember."""
        self._markers: list[Marker] = []
        self._open: list[Marker] = []
        self._tail: tuple[int, float] | None = None

    @property
    def markers(self) -> int:
        """How many messages are kept in memory."""
        return len(self._markers)

    @property
    def is_begun(self) -> bool:
        """Whether there was a look already."""
        return self._tail is not None

    def stays(self, tail: bytes) -> bool:
        """Whether the next message is that of the last look, and nothing older is remembered.

        Then it alone says since when it waits, and there is nothing to search for.
        """
        if self._tail is None or self._tail[0] != hash(tail) or not _is_unique(tail):
            return False
        since, oldest = self._tail[1], self._markers[0] if self._markers else None
        if oldest is not None and oldest.at < since:
            if oldest.message != tail:
                return False
            since = oldest.at
        self.since = since
        return True

    def to_find(self) -> list[bytes]:
        """Which messages to search the list for while both its ends are read."""
        return [marker.message for marker in self._markers[:FIRST_SEARCH]]

    def look(
        self, newest: bytes, tail: bytes, found: Sequence[bool | None], at: float, room: int
    ) -> None:
        """Fold both ends of the list, and whether what was ``to_find`` is there.

        ``found`` may hold ``None`` for "cannot be told"; ``at`` is a moment after all of it was
        read; at most ``room`` markers are kept.
        """
        digest = hash(tail)
        if self._tail is None or self._tail[0] != digest or not _is_unique(tail):
            self._tail = digest, at
        self.since = self._tail[1]
        self._open = []
        markers = self._markers
        there = [
            i
            for i, marker in enumerate(markers)
            if (i < len(found) and found[i]) or marker.message == tail
        ]
        if there:
            self._begin_with(markers[there[0]])
        elif found and None not in found:
            del markers[: len(found)]
            self._open = [*markers]
        known = next((marker for marker in markers if marker.message == newest), None)
        if known is not None:
            self.since = min(self.since, known.at)
        elif _is_unique(newest) and len(newest) <= LONGEST_MARKER:
            markers.append(Marker(newest, at))
            self._make_room(room)

    def to_find_next(self) -> list[bytes]:
        """Which messages to search for in addition, as those of ``to_find`` are all gone."""
        return [marker.message for marker in self._open]

    def found(self, found: Sequence[bool | None]) -> None:
        """Fold whether what was ``to_find_next`` is there."""
        first = next((i for i, is_there in enumerate(found) if is_there), None)
        if first is not None:
            self._begin_with(self._open[first])
        elif None not in found:
            self._markers = [marker for marker in self._markers if marker not in self._open]
        self._open = []

    def _begin_with(self, oldest: Marker) -> None:
        """This marker is still there, those before it have been taken."""
        self._markers[:] = [marker for marker in self._markers if marker.at >= oldest.at]
        self.since = oldest.at if self.since is None else min(self.since, oldest.at)

    def _make_room(self, room: int) -> None:
        """Drop those whose absence widens a gap least; never the oldest."""
        markers = self._markers
        while len(markers) > max(room, 1):
            triples = zip(markers, markers[2:], strict=False)
            gaps = [after.at - before.at for before, after in triples]
            del markers[gaps.index(min(gaps)) + 1 if gaps else 1]


def _is_unique(message: bytes) -> bool:
    """Whether equal bytes mean the same message; kombu gives each a delivery tag of its own."""
    return b'"delivery_tag"' in message
