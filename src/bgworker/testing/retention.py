# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""Deleting jobs that ended long ago."""

from __future__ import annotations

import pytest

from bgworker.clock import ManualClock
from bgworker.contracts import Engine
from bgworker.errors import UnknownJob
from bgworker.model import Ended, JobSpec, Released, Succeeded, Takes
from bgworker.states import JobState
from bgworker.testing.hooks import EngineHooks, every_ending, join, spec


def expire_all(engine: Engine, before: int) -> int:
    """Step by step, until there is nothing left to delete."""
    deleted = 0
    while step := engine.expire(before):
        deleted += step
    return deleted


class RetentionTests(EngineHooks):
    """What ``expire`` takes, and what it leaves."""

    def test_only_what_ended_before_is_deleted(self, engine: Engine, clock: ManualClock) -> None:
        """By the instant it ended, whatever its ending."""
        engine.enqueue([spec()] * 12)
        seat = join(engine)
        endings = [e for e in every_ending() if type(e).__name__ in {"Succeeded", "Failed", "Dead"}]
        claims = engine.exchange(seat, [], 3 * len(endings)).claims
        ended = [
            Ended(claim, endings[n % len(endings)], 1, clock.now() + n)
            for n, claim in enumerate(claims)
        ]
        engine.exchange(seat, ended, 0)
        half = len(claims) // 2

        assert expire_all(engine, clock.now() + half) == half
        for claim in claims[:half]:
            with pytest.raises(UnknownJob):
                engine.fetch(claim.id)
        assert all(engine.fetch(claim.id).state.is_final for claim in claims[half:])
        assert expire_all(engine, clock.now() + half) == 0

    def test_what_is_alive_is_never_deleted(self, engine: Engine, clock: ManualClock) -> None:
        """However old it is."""
        running, *others = engine.enqueue([spec(), spec(), JobSpec(task="t", run_at=2**50)])
        seat = join(engine)
        engine.exchange(seat, [], 1)
        clock.advance(1e9)

        assert expire_all(engine, clock.now()) == 0
        assert engine.fetch(running).state is JobState.RUNNING
        assert [engine.fetch(job).state.is_final for job in others] == [False, False]

    def test_many_are_deleted_in_the_end(self, engine: Engine) -> None:
        """In as many steps as it takes."""
        engine.enqueue([spec()] * 500)
        seat = join(engine)
        claims = engine.exchange(seat, [], 500).claims
        engine.exchange(seat, [Ended(claim, Succeeded("1"), 1, 2) for claim in claims], 0)

        assert expire_all(engine, 3) == 500

    def test_an_id_is_never_given_twice(self, engine: Engine) -> None:
        """Not even after its job was deleted, and a late word on the old one changes nothing."""
        engine.enqueue([spec()] * 3)
        seat = join(engine)
        claims = engine.exchange(seat, [], 3).claims
        engine.exchange(seat, [Ended(claim, Succeeded("1"), 1, 2) for claim in claims], 0)
        assert expire_all(engine, 3) == 3
        (new,) = engine.enqueue([spec()])
        late = tuple(Ended(claim, Released()) for claim in claims)

        assert int(new) > max(int(claim.id) for claim in claims)
        assert engine.exchange(seat, late, 0).stale == late
        assert engine.fetch(new).state is JobState.QUEUED

    def test_a_job_whose_result_is_awaited_is_kept(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """Until nobody waits for it any more; however long the other parent takes."""
        first, second = engine.enqueue([spec(), spec()])
        (child,) = engine.enqueue([JobSpec(task="t", after=(first, second), takes=Takes.RESULTS)])
        seat = join(engine)
        early, late = engine.exchange(seat, [], 2).claims
        engine.exchange(seat, [Ended(early, Succeeded("1"), 1, 2)], 0)
        assert expire_all(engine, clock.now() + 1) == 0
        (claim,) = engine.exchange(seat, [Ended(late, Succeeded("2"), 1, 2)], 1).claims

        assert (claim.id, claim.args) == (child, "[[[1,2]],{}]")
        assert expire_all(engine, clock.now() + 1) == 2

    def test_a_key_is_forgotten_with_its_job(self, engine: Engine) -> None:
        """Then the same key means a new job."""
        keyed = JobSpec(task="t", idempotency_key="k")
        (job,) = engine.enqueue([keyed])
        seat = join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.exchange(seat, [Ended(claim, Succeeded("1"), 1, 2)], 0)
        assert list(engine.enqueue([keyed])) == [job]
        assert expire_all(engine, 3) == 1

        assert list(engine.enqueue([keyed])) != [job]
