"""Room on the disk that is held back, so that endings can be recorded when it is full."""

from __future__ import annotations

import contextlib
import os

_MOST = 8 * 1024 * 1024
_LEAST = 64 * 1024
_SHARE = 16
"""The reserve takes no more than this part of a small disk."""


class Reserve:
    """A file of allocated blocks. Its size is bytes, as is all that is compared with it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def make(self) -> bool:
        """Have it, if there is room for it twice; whether it is there now.

        Twice, so that a disk is not called usable again in the moment it is nearly full.
        """
        try:
            size, free, held = self._look()
            if held == size:
                return free >= size
            if free + held < 2 * size:
                return False
            self._allocate(size)
        except OSError:  # no room after all, or a disk that cannot promise any
            self.spend()
            return False
        return True

    def spend(self) -> bool:
        """Give the room back to the disk; whether there was any."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True

    def shortage(self) -> str:
        """In words: how much there is and how much there should be."""
        with contextlib.suppress(OSError):
            size, free, held = self._look()
            need = 2 * size - held
            return f"{_in_words(free)} are free, {_in_words(need)} are needed"
        return "the disk cannot be asked how much is free"

    def _look(self) -> tuple[int, int, int]:
        """The size it should have, what is free, and the size it has."""
        disk = os.statvfs(os.path.dirname(self._path))
        total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        try:
            held = os.stat(self._path).st_size
        except FileNotFoundError:
            held = 0
        return max(_LEAST, min(_MOST, total // _SHARE)), free, held

    def _allocate(self, size: int) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)


def room_left(path: str) -> int:
    """Bytes free on the disk of ``path``; a disk that cannot be asked has plenty."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return _MOST
    return disk.f_bavail * disk.f_frsize


def _in_words(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
