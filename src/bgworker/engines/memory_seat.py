"""A worker's seat at the engine without a file."""

from __future__ import annotations

import socket
import tempfile

from bgworker.model import WorkerProfile
from bgworker.scoreboard import Scoreboard
from bgworker.wake import CANCEL, WORK


class MemorySeat:
    """See :class:`bgworker.contracts.Membership`; ``dead`` is set by a test that kills it."""

    def __init__(self, profile: WorkerProfile) -> None:
        self.name = profile.name
        self.queues = profile.queues
        self.rate_limit = profile.rate_limit
        self.dead = False
        self.declined: frozenset[str] = frozenset()
        self.schedules: frozenset[str] | None = None
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.board = Scoreboard(self._file.fileno(), profile.concurrency)
        self._bell, self.rope = socket.socketpair()
        self._bell.setblocking(False)
        self.rope.setblocking(False)

    @property
    def board_fd(self) -> int:
        """An unnamed file."""
        return self._file.fileno()

    def fileno(self) -> int:
        """Readable when somebody enqueued."""
        return self._bell.fileno()

    def silence(self) -> bool:
        """Take all rings so far; whether one of them was about a cancellation."""
        asked = False
        try:
            while rings := self._bell.recv(4096):
                asked = asked or CANCEL in rings
        except BlockingIOError:
            pass
        return asked

    def decline(self, tasks: frozenset[str], /) -> None:
        """Claim no jobs of these tasks."""
        self.declined = tasks

    def ring(self, message: bytes = WORK) -> None:
        """Ring; a full buffer has rung already."""
        try:
            self.rope.send(message)
        except BlockingIOError:
            return

    def running(self) -> set[tuple[int, int]]:
        """Jobs in execution, by id and claim, as the scoreboard has them."""
        found = (self.board.slot(n) for n in range(self.board.slots))
        return {(slot.job, slot.claim) for slot in found if slot is not None}

    def close(self) -> None:
        """Free file and sockets."""
        self.board.close()
        self._file.close()
        self._bell.close()
        self.rope.close()
