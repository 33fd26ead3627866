"""A connection used by one thread and closed from any."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bgtop.contracts import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class OneUser:
    """Lets ``close`` end a use that is under way, and leaves the descriptor to its owner.

    Only the thread that uses a socket may free it: its number could be given away anew.
    """

    def __init__(self, place: str, wake: Callable[[], None], drop: Callable[[], None]) -> None:
        """``wake`` ends a wait in another thread; ``drop`` frees the connection."""
        self._place = place
        self._wake = wake
        self._drop = drop
        self._busy = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """End the use under way, if any, and free the connection. Safe to repeat."""
        self._closed = True
        if not self._busy.acquire(blocking=False):
            self._wake()
            return
        try:
            self._drop()
        finally:
            self._busy.release()

    @property
    def closed(self) -> bool:
        """Whether nothing is to be used any more: what is dropped now is dropped for good."""
        return self._closed

    @contextmanager
    def using(self) -> Iterator[None]:
        """Be the only user; any failure drops the connection.

        Raises:
            Unreachable: when it was closed, whatever error that made.
        """
        try:
            with self._busy:
                try:
                    self._refuse_when_closed()
                    yield
                except BaseException:
                    self._drop()
                    self._refuse_when_closed()
                    raise
        finally:
            # A close() that met the lock taken left the connection to us.
            if self._closed:
                self.close()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Unreachable(f"the connection to {self._place} was closed")
