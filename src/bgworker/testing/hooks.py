"""What the author of an engine tells the conformance suite, and what its tests share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from bgworker.clock import ManualClock
from bgworker.codec import dump_error
from bgworker.contracts import Engine, Membership
from bgworker.model import (
    Cancelled,
    Claim,
    Dead,
    Ending,
    Failed,
    JobSpec,
    Released,
    Retrying,
    Succeeded,
    WorkerProfile,
)
from bgworker.scoreboard import Scoreboard
from bgworker.states import JobState

ERROR = dump_error("ValueError", "no")
FINAL: Sequence[tuple[Ending, JobState]] = (
    (Succeeded("42"), JobState.SUCCEEDED),
    (Failed(ERROR), JobState.FAILED),
    (Dead(ERROR), JobState.DEAD),
    (Cancelled(ERROR), JobState.CANCELLED),
)


class EngineHooks:
    """Subclass it and say how an engine is opened and how a worker's death looks to it."""

    def open_engine(self, clock: ManualClock) -> Engine:
        """Required: an empty engine that takes the time from ``clock``."""
        raise NotImplementedError

    def kill(self, engine: Engine, seat: Membership) -> None:
        """Required: make the engine see that no process of this worker is alive any more."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Time stands still unless a test moves it."""
        return ManualClock()

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        """A freshly opened engine, closed after the test."""
        engine = self.open_engine(clock)
        yield engine
        engine.close()


def every_ending() -> Sequence[Ending]:
    """One of each kind."""
    return (
        *(ending for ending, _ in FINAL),
        Retrying(ERROR, 0),
        Released(),
    )


def spec() -> JobSpec:
    """Any job."""
    return JobSpec(task="t")


def profile(name: str, queues: tuple[str, ...] | None = None) -> WorkerProfile:
    """A worker's own words."""
    return WorkerProfile(name=name, host="here", pid=1, concurrency=2, queues=queues)


def join(engine: Engine, name: str = "w", queues: tuple[str, ...] | None = None) -> Membership:
    """A seat for a worker of this name."""
    return engine.join(profile(name, queues), [])


def show_running(seat: Membership, claim: Claim) -> None:
    """What a child does when it starts a job."""
    board = Scoreboard(seat.board_fd)
    board.start(0, int(claim.id), claim.number, 1)
    board.close()
