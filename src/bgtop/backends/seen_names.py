"""The queues seen so far, where the broker keeps no list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SeenNames:
    """Queues are remembered once seen: one without keys now is empty, and not gone."""

    def __init__(self, most: int, configured: Iterable[bytes] = ()) -> None:
        self.known: dict[bytes, None] = dict.fromkeys(configured)
        self.version = 0
        """Grows with each new name."""
        self.full = False
        """Whether names had to be left out, because there are more than ``most``."""
        self._most = most

    def learn(self, names: Iterable[bytes]) -> None:
        """Remember these queues."""
        for name in names:
            if name in self.known:
                continue
            if len(self.known) >= self._most:
                self.full = True
                return
            self.known[name] = None
            self.version += 1
