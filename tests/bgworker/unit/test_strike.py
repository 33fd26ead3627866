"""An exception for a task never hits what is not that task."""

from __future__ import annotations

import random
import threading
import time

import pytest

from bgworker.worker.strike import STRIKES, Target


class Lane(threading.Thread):
    """Runs so many tasks of some loops each, and counts how they end."""

    def __init__(self, runs: int, timeout: float | None = None) -> None:
        super().__init__()
        self.target = Target()
        self.now = 0
        self.struck: list[int] = []
        self.missed: BaseException | None = None
        self._runs = runs
        self._timeout = timeout

    def run(self) -> None:
        try:
            for n in range(self._runs):
                self.target.expect(("job", n))
                self.now = n
                self._task(n)
        except BaseException as error:  # noqa: BLE001 - it hit the worker instead of the task
            self.missed = error

    def _task(self, n: int) -> None:
        try:
            try:
                self.target.enter(self._timeout)
                for _ in range(random.randrange(50)):
                    random.random()
            finally:
                self.target.inside = False
                try:
                    self.target.leave()
                except STRIKES:
                    self.target.leave()
        except STRIKES:
            self.struck.append(n)


def test_strikes_at_any_moment_hit_their_task_or_nothing() -> None:
    lane = Lane(30_000, timeout=0)
    lane.start()
    wanted = set()
    while lane.is_alive():
        wanted.add(lane.now)
        lane.target.stop(("job", lane.now))
        lane.target.check_time(time.monotonic())
    lane.join()
    assert lane.missed is None
    assert 0 < len(lane.struck) == len(set(lane.struck))


def test_only_the_job_that_is_named_is_stopped() -> None:
    lane = Lane(3_000)
    lane.start()
    while lane.is_alive():
        lane.target.stop(("another", lane.now))
        lane.target.check_time(time.monotonic())
    lane.join()
    assert (lane.struck, lane.missed) == ([], None)


def test_who_is_stopped_before_it_begins_does_not_begin() -> None:
    target = Target()
    target.expect(("job", 1))
    target.stop(("job", 1))
    with pytest.raises(SystemExit):
        target.enter(None)
    target.leave()
    target.expect(("job", 2))
    target.enter(None)
    target.leave()
