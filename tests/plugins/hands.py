"""The far ends of a pool's children: tests read the orders and report, no process does."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import specimens

from bgworker.model import Claim
from bgworker.worker.frames import Order, pack_report, receive_order, unpack_order, write_all
from bgworker.worker.pool import RECALL_AFTER, Child, Pool


def claim(n: int, task: str = "quick", args: str = "[[],{}]") -> Claim:
    """Of a task that runs for 10 µs, once :func:`make_quick` was called."""
    return specimens.claim(n, task=task, args=args)


class Hands:
    """The far end of a child: reads orders and reports their ends, when the test says so."""

    def __init__(self, child: Child, jobs: int, reports: int) -> None:
        self.child = child
        self.jobs = socket.socket(fileno=jobs)
        self.reports = reports
        self.order: Order | None = None

    def take(self) -> str:
        """Begin the next job."""
        self.order = unpack_order(*receive_order(self.jobs, socket.MSG_DONTWAIT))
        return self.order.id

    def finish(self, seconds: float = 0.0001) -> None:
        """Report the end of the job that was begun."""
        assert self.order is not None
        write_all(self.reports, pack_report(self.order, "ok", 1, int(seconds * 1e6), "null"))

    def close(self) -> None:
        self.jobs.close()
        if self.reports >= 0:
            os.close(self.reports)
        self.child.close()


MakeCrew = Callable[[int], tuple[Pool, list[Hands]]]


def make_quick(pool: Pool, hands: Hands, runs: int = 200) -> None:
    """Let the pool learn that a job takes 10 µs."""
    for n in range(runs):
        pool.backlog.append(claim(10_000 + n))
        assert pool.dispatch() == []
        hands.take()
        hands.finish(0.00001)
        pool.receive(hands.child)
    pool.take_started()


def age(hands: Hands) -> None:
    """The run began a while ago."""
    hands.child.head_since -= 2 * RECALL_AFTER
