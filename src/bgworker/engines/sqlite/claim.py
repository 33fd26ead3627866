"""Choosing what a worker runs next, within all limits, in the worker's own transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL, claim_sql
from bgworker.engines.sqlite.records import claim_of
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.engines.sqlite.settle import settle
from bgworker.limits import Bucket, Limit, Line, Rules, choose
from bgworker.model import EXPIRED, Claim, Ended, Millis
from bgworker.states import JobState
from bgworker.values import dataclass, field

_ARMS = 100
"""Queues, or lanes, one claim looks at; with more waiting at once, other claims see the rest."""
_TURN = itemgetter(6, 0, 2)
"""Of a row of ``claim``: priority, place, id."""
_ROUNDS = 20
"""How often one claim looks again because what it got had expired."""


@dataclass(slots=True)
class Claimed:
    """What a claim brought; ``opens_at`` is when a rate lets the next job start."""

    claims: list[Claim] = field(default_factory=list)
    expired: list[Claim] = field(default_factory=list)
    opens_at: Millis | None = None


def claim(
    db: sqlite3.Connection, ledger: Ledger, seat: SqliteSeat, want: int, now: Millis
) -> Claimed:
    """Up to ``want`` jobs for this worker; the ledger must have been posted before."""
    done = Claimed()
    for _ in range(_ROUNDS):
        rows, done.opens_at = _take(db, seat, want - len(done.claims), now)
        # RETURNING promises no order; sort by what was chosen by: priority, place, id.
        rows.sort(key=_TURN)
        expired = len(done.expired)
        moved: dict[tuple[str, int], int] = {}
        for row in rows:
            late = row[1] is not None and row[1] <= now
            (done.expired if late else done.claims).append(claim_of(row[2:]))
            kind = row[5:7]
            moved[kind] = moved.get(kind, 0) + 1
        for (queue, priority), n in moved.items():
            ledger.move(queue, priority, JobState.QUEUED, JobState.RUNNING, n)
        for late_claim in done.expired[expired:]:
            settle(db, ledger, Ended(late_claim, EXPIRED), now)
        if len(done.expired) == expired:
            break
        ledger.post(db)  # the next round reads from the tallies again
    return done


def _take(
    db: sqlite3.Connection, seat: SqliteSeat, want: int, now: Millis
) -> tuple[list[Any], Millis | None]:
    """The rows of what is claimed. Without limits or unknown tasks it takes one statement."""
    # An index that has the best priorities first would be one page more in each write at rest.
    found = sorted(db.execute(SQL["busy_queues"]))
    names = dict.fromkeys(name for _, name, _ in found)
    queues = [name for name in names if seat.queues is None or name in seat.queues]
    if not queues or want <= 0:
        return [], None
    if found[0][2] or seat.rate_limit is not None or seat.declined.tasks:
        return _Turn(db, seat, queues, now).take(want)
    arms = _arms(queues, now)
    return db.execute(claim_sql(len(arms)), (seat.number, *arms, want)).fetchall(), None


def _arms(queues: Sequence[str], now: Millis) -> Sequence[str]:
    """The queues to look into: half of them the first ones, half all others in turn.

    What is in the first ones may be held up by limits for long.
    """
    if len(queues) <= _ARMS:
        return queues
    first, others = queues[: _ARMS // 2], queues[_ARMS // 2 :]
    start = now % len(others)
    return [*first, *others[start:], *others[:start]][:_ARMS]


class _Turn:
    """One claim under limits: read them, choose, write what was used."""

    def __init__(
        self, db: sqlite3.Connection, seat: SqliteSeat, queues: Sequence[str], now: Millis
    ) -> None:
        self._db = db
        self._seat = seat
        self._queues = queues
        self._now = now
        self._rules = Rules(dict(self._limits()), now)

    def take(self, want: int) -> tuple[list[Any], Millis | None]:
        """The rows of what is claimed, and when a rate lets the next one start."""
        rules = self._rules
        queues = [name for name in self._queues if rules.room(rules.of_queue(name), want) > 0]
        lines = self._free_lines(queues, want) + self._lane_lines(queues, want)
        chosen = choose(lines, want, self._rules.now)
        for (scope, name), next_at in self._rules.charge().items():
            self._db.execute(SQL["note_rate"], (next_at, scope, name))
        rows: list[Any] = []
        if chosen:
            row = (self._seat.number, json.dumps(chosen))
            rows = self._db.execute(SQL["claim_chosen"], row).fetchall()
        return rows, self._rules.opens_at()

    def _limits(self) -> Iterator[tuple[tuple[str, str], Limit]]:
        for scope, name, concurrency, rate, next_at, paused in self._db.execute(SQL["limits"]):
            own = self._seat.rate_limit if scope == "workers" else rate
            limit = Limit(
                concurrency=concurrency,
                bucket=None if own is None else Bucket(own, next_at),
                paused=bool(paused),
            )
            if scope == "queue" and concurrency is not None:
                (limit.running,) = self._db.execute(SQL["running_in"], (name,)).fetchone()
            yield (scope, name), limit

    def _free_lines(self, queues: Sequence[str], want: int) -> list[Line]:
        lines = []
        for queue in _arms(queues, self._now):
            limits = self._rules.of_queue(queue)
            room = self._rules.room(limits, want)
            lines.append(Line(self._free_jobs(queue, room), limits))
        return lines

    def _free_jobs(self, queue: str, room: int) -> list[tuple[int, int, int]]:
        if self._seat.declined.tasks:
            return self._seat.declined.others(self._db, queue, room)
        return self._db.execute(SQL["queued_free"], (queue, room)).fetchall()

    def _lane_lines(self, queues: Sequence[str], want: int) -> list[Line]:
        rules = self._rules
        closed = [*rules.closed_tasks(), *self._seat.declined.tasks]
        parameters = (json.dumps(queues), json.dumps(closed), _ARMS)
        lines = []
        for name, queue, task, running in self._db.execute(
            SQL["waiting_lanes"], parameters
        ).fetchall():
            limits = rules.of_lane(queue, name, task, running)
            room = rules.room(limits, want)
            if room > 0:
                jobs = self._db.execute(SQL["queued_lane"], (name, queue, room)).fetchall()
                lines.append(Line(jobs, limits))
                self._db.execute(SQL["serve_lane"], (self._now, name, queue))
        return lines
