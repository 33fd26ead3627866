"""What a worker is doing right now, in a small file mapped into memory: no database is asked.

The file is also the worker's proof of life: every process of the worker holds the ``flock`` its
supervisor took on it, so the lock comes free only when the last of them is gone. What the children
were running can therefore be read after any of them, or all of them, died.

Layout (little endian): a header, then one slot per child.
    header  4s magic, H version, H slots, Q heartbeat ms, Q processed, Q failed, I children
    slot    Q job id (0 = idle), Q claim number, Q started at ms
"""

from __future__ import annotations

import mmap
import os
import struct

from bgworker.model import Millis
from bgworker.values import dataclass

_HEADER = struct.Struct("<4sHHQQQI")
_HEADER_BYTES = 64
_SLOT = struct.Struct("<QQQ")
_SLOT_BYTES = 32
_MAGIC = b"BGWS"
_VERSION = 1
_COUNTERS = struct.Struct("<QQQI")
_COUNTERS_AT = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """A job in execution: its id, the number of its claim, and when it started."""

    job: int
    claim: int
    started_at: Millis


@dataclass(frozen=True, slots=True)
class Board:
    """One look at a scoreboard. ``processed`` counts runs that ended, ``failed`` of them badly.

    ``children`` is how many there were to run jobs when the supervisor looked last.
    """

    heartbeat_at: Millis
    processed: int
    failed: int
    slots: tuple[Slot | None, ...]
    children: int = 0

    @property
    def running(self) -> tuple[Slot, ...]:
        """The slots that are in use."""
        return tuple(slot for slot in self.slots if slot is not None)


class Scoreboard:
    """The mapped file. The supervisor writes the header, each child its own slot."""

    def __init__(self, fd: int, slots: int | None = None) -> None:
        """Map ``fd``; with ``slots`` the file is laid out anew.

        Raises:
            ValueError: the file is not a scoreboard.
        """
        if slots is not None:
            os.ftruncate(fd, 0)
            # Not only as a hole: to write there on a full disk would be the end of the process.
            os.posix_fallocate(fd, 0, _HEADER_BYTES + slots * _SLOT_BYTES)
            os.pwrite(fd, _HEADER.pack(_MAGIC, _VERSION, slots, 0, 0, 0, 0), 0)
        size = os.fstat(fd).st_size
        if size < _HEADER_BYTES:
            raise ValueError("not a scoreboard: too short")
        self._map = mmap.mmap(fd, size)
        magic, version, self.slots, *_ = _HEADER.unpack_from(self._map)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ValueError("not a scoreboard of this version")
        if size < _HEADER_BYTES + self.slots * _SLOT_BYTES:
            raise ValueError("not a scoreboard: shorter than its slots")

    def beat(self, now: Millis, *, processed: int, failed: int, children: int = 0) -> None:
        """Show that the supervisor is alive, and its counts."""
        _COUNTERS.pack_into(self._map, _COUNTERS_AT, now, processed, failed, children)

    def start(self, slot: int, job: int, claim: int, now: Millis) -> None:
        """Say which job this child starts; from here on its death is that job's crash."""
        _SLOT.pack_into(self._map, _HEADER_BYTES + slot * _SLOT_BYTES, job, claim, now)

    def finish(self, slot: int) -> None:
        """Say that this child runs nothing."""
        _SLOT.pack_into(self._map, _HEADER_BYTES + slot * _SLOT_BYTES, 0, 0, 0)

    def slot(self, slot: int) -> Slot | None:
        """What this child runs, or died in."""
        found = Slot(*_SLOT.unpack_from(self._map, _HEADER_BYTES + slot * _SLOT_BYTES))
        return found if found.job else None

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()


def read_board(path: str) -> Board | None:
    """One look at a worker's file without mapping or locking it; ``None`` if it is not there."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    if len(data) < _HEADER_BYTES:
        return None
    magic, version, slots, beat, processed, failed, children = _HEADER.unpack_from(data)
    if (magic, version) != (_MAGIC, _VERSION):
        return None
    if len(data) < _HEADER_BYTES + slots * _SLOT_BYTES:
        return None
    found = (Slot(*_SLOT.unpack_from(data, _HEADER_BYTES + i * _SLOT_BYTES)) for i in range(slots))
    used = tuple(slot if slot.job else None for slot in found)
    return Board(beat, processed, failed, used, children)
