"""What is in a directory, read again only when it has changed: a look costs one call."""

from __future__ import annotations

import os
import time

_CLOCK_TICK = 50_000_000
"""ns; a directory's mtime is only as fine as the kernel's tick."""


class Listing:
    """The names in one directory; any thread may ask."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._known: tuple[int | None, tuple[str, ...]] = (None, ())

    def names(self) -> tuple[str, ...]:
        """In no order; the same object while nothing has come or gone. Raises :class:`OSError`."""
        looked_at = time.time_ns()  # first of all: what changes from here on may be missed below
        changed = os.stat(self.directory).st_mtime_ns
        listed, names = self._known
        if changed != listed:
            found = tuple(os.listdir(self.directory))
            names = names if found == names else found
            # Two changes within one tick carry one mtime: a fresh listing is not believed for long.
            self._known = (changed if looked_at - changed > _CLOCK_TICK else None, names)
        return names
