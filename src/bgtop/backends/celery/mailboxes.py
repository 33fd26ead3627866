"""Workers that are asked for by their mailbox, where RabbitMQ's queues cannot be listed.

A mailbox that is missing proves the end of a worker, but for one that runs without remote control:
it never has one. So a worker that speaks is asked for once as well, and when it goes on speaking
though its mailbox is missing, silence is all that will be known of its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.celery.roster import PATIENCE
from bgtop.backends.rabbit_queues import mailbox_of, node_of
from bgtop.backends.rabbit_watch import Pause

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from bgtop.backends.celery.roster import Roster

SECONDS_UNTIL_SETTLED = 10.0
"""A worker that starts speaks first and declares its mailbox some seconds later."""

_MOST_PROBES = 100


class Mailboxes:
    """Per poll ``probes``, then ``absorb``."""

    def __init__(self, roster: Roster) -> None:
        self.vouched: set[str] = set()
        """Silent workers that were found to be connected."""
        self._roster = roster
        self._quiet: set[str] = set()
        self._pauses: dict[str, Pause] = {}
        self._speaks_since: dict[str, float] = {}
        self._answered: set[str] = set()
        self._missed_at: dict[str, float] = {}
        self._without: set[str] = set()

    def probes(self, now: float, tick: float) -> list[str]:
        """Mailboxes to ask for; ``now`` in seconds since the epoch, ``tick`` monotonic."""
        present = {node for _, node in self._roster.quiet(float("inf"))}
        self._quiet = {node for _, node in self._roster.quiet(now - PATIENCE)}
        self._forget_all_but(present)
        for node in present:
            self._speaks_since.setdefault(node, tick)
        self._without |= {
            node
            for node, missed_at in self._missed_at.items()
            if self._roster.heard_after((b"", node), missed_at)
        }
        asked = [node for node in sorted(present) if self._is_doubtful(node, tick)]
        self._pauses = {node: self._pauses.get(node) or Pause() for node in asked}
        due = [node for node in asked if self._pauses[node].over(tick)]
        return [mailbox_of(node) for node in due[:_MOST_PROBES]]

    def _forget_all_but(self, present: set[str]) -> None:
        """One that comes back under its name may have a mailbox where it had none."""
        self._answered &= present
        self._without &= present
        self._speaks_since = {n: at for n, at in self._speaks_since.items() if n in present}
        self._missed_at = {n: at for n, at in self._missed_at.items() if n in present}

    def _is_doubtful(self, node: str, tick: float) -> bool:
        if node in self._quiet:
            return node not in self._without
        settled = tick - self._speaks_since[node] >= SECONDS_UNTIL_SETTLED
        return settled and node not in self._answered

    def absorb(
        self, tried: AbstractSet[str], missing: AbstractSet[str], now: float, tick: float
    ) -> None:
        """Learn from what was found of those of ``probes`` that were tried."""
        for mailbox in tried:
            node = node_of(mailbox)
            if node is None:
                continue
            self._answered.add(node)
            if mailbox not in missing:
                self._pauses[node].failed(tick)
                if node in self._quiet:
                    self.vouched.add(node)
            elif node in self._quiet:
                self._roster.lose((b"", node))
                self.vouched.discard(node)
            else:
                self._missed_at[node] = now
