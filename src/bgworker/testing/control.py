# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""Cancelling, retrying and purging."""

from __future__ import annotations

import json
import select

import pytest

from bgworker.clock import ManualClock
from bgworker.contracts import Engine
from bgworker.model import (
    CRASH_BUDGET,
    Answer,
    Cancelled,
    Dead,
    Ended,
    Ending,
    JobId,
    JobSpec,
    Released,
    Retrying,
    Succeeded,
    TaskPolicy,
)
from bgworker.states import JobState
from bgworker.testing.hooks import (
    ERROR,
    FINAL,
    EngineHooks,
    every_ending,
    join,
    profile,
    show_running,
    spec,
)

_NOWHERE = ("99", "0", "-1", "nonsense", "")


def _error(why: str) -> dict[str, str]:
    return {"type": "Cancelled", "message": why, "traceback": ""}


class ControlTests(EngineHooks):
    """What people ask of jobs that are stored already."""

    # Cancelling what waits

    def test_waiting_jobs_end_at_once(self, engine: Engine, clock: ManualClock) -> None:
        """Queued, scheduled and waiting for a retry; nobody gets them any more."""
        (retrying,) = engine.enqueue([spec()])
        seat = join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.exchange(seat, [Ended(claim, Retrying(ERROR, clock.now() + 1_000))], 0)
        late = JobSpec(task="t", run_at=clock.now() + 1_000)
        scheduled, queued = engine.enqueue([late, spec()])
        answers = engine.cancel([retrying, scheduled, queued], "by me")
        clock.advance(2)

        assert [(a.id, a.was, a.done) for a in answers] == [
            (retrying, JobState.RETRYING, True),
            (scheduled, JobState.SCHEDULED, True),
            (queued, JobState.QUEUED, True),
        ]
        assert engine.exchange(seat, [], 9).claims == ()
        for answer in answers:
            job = engine.wait(answer.id, 0.01)
            assert (job.state, job.worker, job.result) == (JobState.CANCELLED, None, None)
            assert json.loads(job.error or "") == _error("by me")
            assert (job.started_at, job.finished_at) == (None, clock.now() - 2_000)
        assert engine.fetch(retrying).attempts == 1

    def test_what_has_ended_is_left_alone(self, engine: Engine) -> None:
        """And so is what never was; a job that is cancelled already is as was asked for."""
        ids = engine.enqueue([spec()] * len(FINAL))
        seat = join(engine)
        claims = engine.exchange(seat, [], len(FINAL)).claims
        ended = [Ended(c, e) for c, (e, _) in zip(claims, FINAL, strict=True)]
        engine.exchange(seat, ended, 0)
        before = [engine.fetch(id_) for id_ in ids]
        answers = engine.cancel([*ids, *map(JobId, _NOWHERE)], "why")

        assert [(a.was, a.done) for a in answers] == [
            *((state, state is JobState.CANCELLED) for _, state in FINAL),
            *((None, False) for _ in _NOWHERE),
        ]
        assert [engine.fetch(id_) for id_ in ids] == before

    def test_a_job_named_twice_is_answered_once(self, engine: Engine) -> None:
        """By both requests."""
        (id_,) = engine.enqueue([spec()])

        assert engine.cancel([], "why") == engine.retry([]) == []
        assert engine.cancel([id_, id_], "why") == [Answer(id=id_, was=JobState.QUEUED, done=True)]
        assert engine.retry([id_, id_]) == [Answer(id=id_, was=JobState.CANCELLED, done=True)]

    def test_only_jobs_in_the_states_named_are_cancelled(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """One that has been claimed since somebody looked, or is due later, stays as it is."""
        (running,) = engine.enqueue([spec()])
        seat = join(engine)
        engine.exchange(seat, [], 1)
        late = JobSpec(task="t", run_at=clock.now() + 1_000)
        scheduled, queued = engine.enqueue([late, spec()])
        answers = engine.cancel([running, scheduled, queued], "by me", only={JobState.QUEUED})

        assert [(answer.was, answer.done) for answer in answers] == [
            (JobState.RUNNING, False),
            (JobState.SCHEDULED, False),
            (JobState.QUEUED, True),
        ]
        assert engine.to_cancel(seat) == frozenset()
        states = [engine.fetch(id_).state for id_ in (running, scheduled, queued)]
        assert states == [JobState.RUNNING, JobState.SCHEDULED, JobState.CANCELLED]

    # Cancelling what runs

    def test_a_running_job_is_its_workers_to_stop(self, engine: Engine) -> None:
        """The worker is rung and told; until it has answered, the job runs."""
        (id_,) = engine.enqueue([spec()])
        seat, other = join(engine, "w1"), join(engine, "w2")
        (claim,) = engine.exchange(seat, [], 1).claims
        seat.silence()
        before = engine.to_cancel(seat)
        answers = engine.cancel([id_], "by me")
        rung = select.select([seat], [], [], 5)[0]

        assert before == frozenset()
        assert answers == [Answer(id=id_, was=JobState.RUNNING, done=True)]
        assert rung
        assert seat.silence() is True
        assert engine.to_cancel(seat) == {(id_, claim.number)}
        assert engine.to_cancel(other) == frozenset()
        assert engine.fetch(id_).state is JobState.RUNNING

        end = Ended(claim, Cancelled(ERROR), 17, 25)
        done = engine.exchange(seat, [end], 9)
        job = engine.fetch(id_)

        assert (done.cancelled, done.stale, done.claims) == ((end,), (), ())
        assert (job.state, job.started_at, job.finished_at) == (JobState.CANCELLED, 17, 25)
        assert (job.worker, job.attempts) == ("w1", 1)
        assert json.loads(job.error or "") == _error("by me")
        assert engine.to_cancel(seat) == frozenset()

    def test_a_bell_for_work_is_not_about_a_cancellation(self, engine: Engine) -> None:
        """So a worker need not look for one at each enqueue."""
        seat = join(engine)
        seat.silence()
        engine.enqueue([spec()])
        assert select.select([seat], [], [], 5)[0]
        assert seat.silence() is False

    @pytest.mark.parametrize("ending", every_ending(), ids=lambda ending: type(ending).__name__)
    @pytest.mark.parametrize("many", [1, 9])
    def test_who_was_told_yes_is_cancelled_whatever_the_ending_says(
        self, engine: Engine, ending: Ending, many: int
    ) -> None:
        """Alone, or in a group with others that nobody cancelled; once, and for good."""
        ids = engine.enqueue([spec()] * many)
        seat = join(engine)
        claims = engine.exchange(seat, [], many).claims
        engine.cancel([ids[0]], "first")
        engine.cancel([ids[0]], "second")
        end = Ended(claims[0], ending, 17, 25)
        others = [Ended(claim, Succeeded("1"), 5, 9) for claim in claims[1:]]
        done = engine.exchange(seat, [*others, end], 0)
        job = engine.fetch(ids[0])

        assert (done.cancelled, done.stale) == ((end,), ())
        assert job.state is JobState.CANCELLED
        assert job.attempts == (0 if isinstance(ending, Released) else 1)
        assert (job.result, job.retries, job.crashes) == (None, 0, 0)
        assert json.loads(job.error or "") == _error("first")
        assert all(engine.fetch(id_).state is JobState.SUCCEEDED for id_ in ids[1:])
        late = [Ended(claims[0], other) for other in every_ending()]
        assert engine.exchange(seat, late, 9).stale == tuple(late)
        assert engine.fetch(ids[0]) == job

    @pytest.mark.parametrize("began", [True, False])
    @pytest.mark.parametrize("crashes", [0, CRASH_BUDGET - 1])
    def test_a_dead_workers_job_is_cancelled_and_not_run_again(
        self, engine: Engine, began: bool, crashes: int
    ) -> None:
        """Whoever takes it back settles it; a crash of ours is not charged."""
        (id_,) = engine.enqueue([spec()])
        seat, other = join(engine, "w1"), join(engine, "w2")
        (claim,) = engine.exchange(seat, [], 1).claims
        for _ in range(crashes):
            end = Ended(claim, Retrying(ERROR, 0, crashed=True))
            (claim,) = engine.exchange(seat, [end], 1).claims
        if began:
            show_running(seat, claim)
        engine.cancel([id_], "by me")
        self.kill(engine, seat)
        (rescued,) = engine.rescue(other)
        job = engine.fetch(id_)

        assert (rescued.id, rescued.state) == (id_, JobState.CANCELLED)
        assert rescued.was_running is began
        assert (job.state, job.crashes, job.attempts) == (
            JobState.CANCELLED,
            crashes,
            crashes + began,
        )
        assert json.loads(job.error or "") == _error("by me")
        assert engine.exchange(other, [], 9).claims == ()

    def test_a_worker_that_leaves_cancels_what_it_would_give_back(self, engine: Engine) -> None:
        """The request is not forgotten with the claim."""
        (id_,) = engine.enqueue([spec()])
        seat = join(engine, "w1")
        engine.exchange(seat, [], 1)
        engine.cancel([id_], "by me")
        engine.leave(seat)

        assert engine.fetch(id_).state is JobState.CANCELLED

    # Retrying

    @pytest.mark.parametrize(("ending", "state"), FINAL[1:])
    def test_an_ended_job_is_queued_with_all_its_budgets(
        self, engine: Engine, clock: ManualClock, ending: Ending, state: JobState
    ) -> None:
        """The same id, and a claim that nobody ever had."""
        (id_,) = engine.enqueue([JobSpec(task="t", args="[[1],{}]", queue="q", priority=3)])
        seat = join(engine)
        (first,) = engine.exchange(seat, [], 1).claims
        crash = Ended(first, Retrying(ERROR, clock.now(), crashed=True))
        (second,) = engine.exchange(seat, [crash], 1).claims
        fail = Ended(second, Retrying(ERROR, clock.now()))
        (third,) = engine.exchange(seat, [fail], 1).claims
        engine.exchange(seat, [Ended(third, ending, 17, 25)], 0)
        assert engine.fetch(id_).state is state
        clock.advance(5)
        seat.silence()
        answers = engine.retry([id_])
        job = engine.fetch(id_)

        assert answers == [Answer(id=id_, was=state, done=True)]
        assert select.select([seat], [], [], 5)[0], "the workers are rung"
        assert (job.state, job.run_at) == (JobState.QUEUED, clock.now())
        assert (job.args, job.queue, job.priority) == ("[[1],{}]", "q", 3)
        assert (job.attempts, job.retries, job.crashes) == (3, 0, 0)
        assert (job.started_at, job.finished_at, job.worker, job.result) == (None,) * 4
        assert job.error == (None if state is JobState.CANCELLED else ERROR)

        late = [Ended(claim, Succeeded("0")) for claim in (first, second, third)]
        done = engine.exchange(seat, late, 9)
        (again,) = done.claims
        assert done.stale == tuple(late)
        assert (again.id, again.attempts, again.retries, again.crashes) == (id_, 4, 0, 0)
        assert again.number > third.number
        assert engine.exchange(seat, late, 0).stale == tuple(late)
        assert engine.exchange(seat, [Ended(again, Succeeded("7"), 1, 2)], 0).stale == ()
        assert engine.wait(id_, 0.01).result == "7"
        assert engine.fetch(id_).error is None

    def test_a_retried_job_queues_up_behind_waiting_ones(self, engine: Engine) -> None:
        """Its low number gives it no place it has left."""
        (old,) = engine.enqueue([spec()])
        engine.cancel([old], "why")
        waiting = engine.enqueue([spec()] * 2)
        engine.retry([old])
        newer = engine.enqueue([spec()])

        claims = engine.exchange(join(engine), [], 9).claims
        assert [claim.id for claim in claims] == [*waiting, old, *newer]

    def test_what_waits_for_a_time_is_due_now(self, engine: Engine, clock: ManualClock) -> None:
        """And keeps what is left of its budgets."""
        (retrying,) = engine.enqueue([spec()])
        seat = join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.exchange(seat, [Ended(claim, Retrying(ERROR, clock.now() + 9_000))], 0)
        (scheduled,) = engine.enqueue([JobSpec(task="t", run_at=clock.now() + 9_000)])
        answers = engine.retry([retrying, scheduled])

        assert [(a.was, a.done) for a in answers] == [
            (JobState.RETRYING, True),
            (JobState.SCHEDULED, True),
        ]
        assert engine.fetch(scheduled).run_at == clock.now()
        done = engine.exchange(seat, [], 9)
        assert [(c.id, c.retries) for c in done.claims] == [(retrying, 1), (scheduled, 0)]
        assert done.next_due_at is None

    def test_what_runs_waits_or_has_succeeded_is_not_retried(self, engine: Engine) -> None:
        """Each is told what it is, and nothing changes."""
        ids = engine.enqueue([spec()] * 3)
        seat = join(engine)
        first, _ = engine.exchange(seat, [], 2).claims
        engine.exchange(seat, [Ended(first, Succeeded("1"))], 0)
        before = [engine.fetch(id_) for id_ in ids]
        answers = engine.retry([*ids, *map(JobId, _NOWHERE)])

        assert [(a.was, a.done) for a in answers] == [
            (JobState.SUCCEEDED, False),
            (JobState.RUNNING, False),
            (JobState.QUEUED, False),
            *((None, False) for _ in _NOWHERE),
        ]
        assert [engine.fetch(id_) for id_ in ids] == before

    def test_a_job_can_be_cancelled_and_retried_for_ever(self, engine: Engine) -> None:
        """While it waits and while it runs; no request outlives the run it was for."""
        (id_,) = engine.enqueue([spec()])
        seat = join(engine)
        for n in range(3):
            (claim,) = engine.exchange(seat, [], 1).claims
            assert claim.number == n + 1
            engine.cancel([id_], "why")
            engine.exchange(seat, [Ended(claim, Dead(ERROR))], 0)
            assert [answer.done for answer in engine.retry([id_])] == [True]
            assert [answer.done for answer in engine.cancel([id_], "why")] == [True]
            assert [answer.done for answer in engine.retry([id_])] == [True]
        (claim,) = engine.exchange(seat, [], 1).claims
        assert engine.to_cancel(seat) == frozenset()
        engine.exchange(seat, [Ended(claim, Succeeded("1"))], 0)
        assert engine.fetch(id_).state is JobState.SUCCEEDED

    def test_a_unique_job_is_not_retried_beside_its_twin(self, engine: Engine) -> None:
        """One of the key lives: it is what was meant. Of several the oldest comes back."""
        unique = JobSpec(task="t", unique="k")
        (old,) = engine.enqueue([unique])
        engine.cancel([old], "why")
        (twin,) = engine.enqueue([unique])
        refused = engine.retry([old])
        engine.cancel([twin], "why")
        oldest_first = engine.retry([twin, old])

        assert refused == [Answer(id=old, was=JobState.CANCELLED, done=False)]
        assert [answer.done for answer in oldest_first] == [False, True]
        assert engine.enqueue([unique]) == [old]
        assert engine.fetch(twin).state is JobState.CANCELLED

    def test_a_retried_job_keeps_to_its_limits(self, engine: Engine, clock: ManualClock) -> None:
        """And is not late any more: somebody wants it now."""
        policy = TaskPolicy(name="t", queue="q", priority=1, concurrency=1)
        late = JobSpec(task="t", lane=policy.lane(), expires_at=clock.now() + 1_000)
        ids = engine.enqueue([late] * 2)
        seat = engine.join(profile("w"), [policy])
        engine.cancel(ids, "why")
        clock.advance(5)
        engine.retry(ids)
        (claim,) = engine.exchange(seat, [], 9).claims
        (other,) = engine.exchange(seat, [Ended(claim, Succeeded("1"))], 9).claims

        assert {claim.id, other.id} == set(ids)

    # Purging

    @pytest.mark.parametrize("queue", ["a", None, "nobody's"])
    def test_a_purge_ends_what_waits(
        self, engine: Engine, clock: ManualClock, queue: str | None
    ) -> None:
        """In one queue or in all; what runs and what has ended stays."""
        later = clock.now() + 1_000
        both = [JobSpec(task="t", queue=name) for name in ("a", "b")]
        engine.enqueue(both * 2)
        seat = join(engine)
        claims = engine.exchange(seat, [], 4).claims
        engine.exchange(seat, [Ended(claim, Succeeded("1")) for claim in claims[:2]], 0)
        engine.exchange(seat, [Ended(claims[2], Retrying(ERROR, later))], 0)
        waiting = engine.enqueue(both * 400)
        scheduled = engine.enqueue([JobSpec(task="t", queue="a", run_at=later)])
        purged = {
            id_
            for id_ in (claims[2].id, *waiting, *scheduled)
            if queue in {None, engine.fetch(id_).queue}
        }

        assert engine.purge(queue, "by me") == len(purged)
        assert len(purged) == {"a": 402, None: 802, "nobody's": 0}[str(queue) if queue else None]
        assert engine.purge(queue, "by me") == 0
        for id_ in (claims[0].id, claims[3].id, claims[2].id, *waiting, *scheduled):
            job = engine.fetch(id_)
            assert (job.state is JobState.CANCELLED) is (id_ in purged)
            if id_ in purged:
                assert json.loads(job.error or "") == _error("by me")
        assert engine.to_cancel(seat) == frozenset()
        clock.advance(2)
        assert len(engine.exchange(seat, [], 999).claims) == 802 - len(purged)
