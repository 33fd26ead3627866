# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""Endings, fencing, death and leaving."""

from __future__ import annotations

import pytest

from bgworker.clock import ManualClock
from bgworker.codec import load_args
from bgworker.contracts import Engine
from bgworker.model import (
    CRASH_BUDGET,
    Ended,
    Ending,
    Failed,
    JobSpec,
    Progress,
    Released,
    Retrying,
    Said,
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


class EndingTests(EngineHooks):
    """From a worker's hands to an ending, or back."""

    # Endings

    @pytest.mark.parametrize(("ending", "state"), FINAL)
    def test_an_ending_is_recorded(self, engine: Engine, ending: Ending, state: JobState) -> None:
        """With its times, once, and for good."""
        (id_,) = engine.enqueue([spec()])
        seat = join(engine, "w1")
        (claim,) = engine.exchange(seat, [], 1).claims
        done = engine.exchange(seat, [Ended(claim, ending, 17, 25)], 0)
        job = engine.fetch(id_)

        assert done.stale == ()
        assert (job.state, job.started_at, job.finished_at) == (state, 17, 25)
        assert (job.worker, job.attempts) == ("w1", 1)
        assert job.result == getattr(ending, "result", None)
        assert job.error == getattr(ending, "error", None)
        assert engine.wait(id_, 0.01) == job

    def test_a_retry_comes_back_when_due(self, engine: Engine, clock: ManualClock) -> None:
        """Charged to the budget it belongs to."""
        ids = engine.enqueue([spec()] * 2)
        seat = join(engine)
        claims = engine.exchange(seat, [], 2).claims
        due = clock.now() + 2_000
        endings = (Retrying(ERROR, due), Retrying(ERROR, due, crashed=True))
        engine.exchange(seat, [Ended(c, e) for c, e in zip(claims, endings, strict=True)], 9)
        waiting = [engine.fetch(id_) for id_ in ids]
        clock.advance(2)
        again = engine.exchange(seat, [], 9).claims

        assert [job.state for job in waiting] == [JobState.RETRYING] * 2
        assert [(job.retries, job.crashes) for job in waiting] == [(1, 0), (0, 1)]
        assert [(c.attempts, c.retries, c.crashes) for c in again] == [(2, 1, 0), (2, 0, 1)]
        assert [engine.fetch(id_).error for id_ in ids] == [ERROR, ERROR]

    def test_a_released_job_keeps_its_place(self, engine: Engine) -> None:
        """Given back, it is next again, and no attempt is charged."""
        ids = engine.enqueue([spec()] * 3)
        seat = join(engine)
        claims = engine.exchange(seat, [], 2).claims
        again = engine.exchange(seat, [Ended(c, Released()) for c in claims], 9).claims

        assert [claim.id for claim in again] == list(ids)
        assert [claim.attempts for claim in again] == [1, 1, 1]
        assert again[0].number != claims[0].number

    def test_settling_and_claiming_are_one_step(self, engine: Engine) -> None:
        """What is settled and what is claimed come from one transaction."""
        engine.enqueue([spec()] * 4)
        seat = join(engine)
        seen = 0
        ended: list[Ended] = []
        while claims := engine.exchange(seat, ended, 1).claims:
            seen += len(claims)
            ended = [Ended(claim, Succeeded("1")) for claim in claims]

        assert seen == 4

    # Progress, and what follows an ending

    def test_progress_is_kept_with_the_job(self, engine: Engine) -> None:
        """The last word stays, also of one that ends in the same transaction or runs again."""
        ends, retries = engine.enqueue([spec()] * 2)
        seat = join(engine)
        claims = engine.exchange(seat, [], 2).claims
        first, last = Progress(1, 3, "so far", 17), Progress(2.5, None, "", 18)
        nothing = engine.fetch(ends).progress
        engine.exchange(seat, [], 0, [Said(claim, first) for claim in claims])
        between = engine.fetch(ends).progress
        endings: tuple[Ending, ...] = (Succeeded("1"), Retrying(ERROR, 0))
        ended = [Ended(c, e) for c, e in zip(claims, endings, strict=True)]
        engine.exchange(seat, ended, 0, [Said(claims[0], last)])

        assert (nothing, between) == (None, first)
        assert engine.fetch(ends).progress == last
        assert engine.fetch(retries).progress == first

    def test_progress_of_a_lost_claim_is_ignored(self, engine: Engine) -> None:
        """It would be told of another run, or of a job that has ended."""
        again, over = engine.enqueue([spec()] * 2)
        seat = join(engine)
        claims = engine.exchange(seat, [], 2).claims
        ended = [Ended(claims[0], Released()), Ended(claims[1], Succeeded("1"))]
        engine.exchange(seat, ended, 1)
        said = [Said(claim, Progress(1, 2, "late", 17)) for claim in claims]
        done = engine.exchange(seat, [], 0, said)

        assert done.stale == ()
        assert [engine.fetch(id_).progress for id_ in (again, over)] == [None, None]

    @pytest.mark.parametrize("count", [1, 9])
    def test_what_follows_an_ending_is_stored_with_it(self, engine: Engine, count: int) -> None:
        """Once for each ending that is recorded, ready to be claimed in the same transaction."""
        engine.enqueue([spec()] * count)
        seat = join(engine)
        claims = engine.exchange(seat, [], count).claims
        then = JobSpec(task="after", args='[["x"],{}]', queue="other", priority=2)
        ended = [Ended(claim, Succeeded("1"), then=then) for claim in claims]
        done = engine.exchange(seat, ended, 99)
        late = engine.exchange(seat, ended, 99)

        assert [(c.task, c.args, c.queue, c.priority) for c in done.claims] == [
            ("after", '[["x"],{}]', "other", 2)
        ] * count
        assert len(late.stale) == count
        assert late.claims == ()

    def test_nothing_follows_a_job_that_ends_as_cancelled(self, engine: Engine) -> None:
        """What was to follow belongs to an ending that is not recorded."""
        (id_,) = engine.enqueue([spec()])
        seat = join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.cancel([id_], "by a test")
        said = Said(claim, Progress(1, 2, "meanwhile", 17))
        ended = Ended(claim, Succeeded("1"), then=JobSpec(task="after"))
        done = engine.exchange(seat, [ended], 99, [said])

        assert engine.fetch(id_).state is JobState.CANCELLED
        assert engine.fetch(id_).progress == said.progress
        assert done.claims == ()

    def test_the_callback_of_a_job_that_dies_with_its_workers_is_stored(
        self, engine: Engine
    ) -> None:
        """Once, when the last of its lives is gone; a task without one has none."""
        tasks = [
            TaskPolicy(name=spec().task, queue="q", priority=1, on_failure="tell"),
            TaskPolicy(name="plain", queue="q", priority=1),
        ]
        alive = engine.join(profile("alive"), tasks)
        (told,) = engine.enqueue([spec()])
        (silent,) = engine.enqueue([JobSpec(task="plain")])
        for n in range(CRASH_BUDGET):
            for job in (told, silent):
                victim = join(engine, f"victim-{job}-{n}")
                (claim,) = engine.exchange(victim, [], 1).claims
                show_running(victim, claim)
                self.kill(engine, victim)
            engine.rescue(alive)
        claims = engine.exchange(alive, [], 99).claims

        assert [engine.fetch(job).state for job in (told, silent)] == [JobState.DEAD] * 2
        assert [claim.task for claim in claims] == ["tell"]
        args, _ = load_args(claims[0].args)
        assert args[:4] == [told, spec().task, CRASH_BUDGET, "dead"]

    # Fencing

    @pytest.mark.parametrize(("ending", "state"), FINAL)
    def test_an_ending_is_recorded_at_most_once(
        self, engine: Engine, ending: Ending, state: JobState
    ) -> None:
        """Every later word on the same claim is stale and changes nothing."""
        (id_,) = engine.enqueue([spec()])
        seat = join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.exchange(seat, [Ended(claim, ending)], 0)
        before = engine.fetch(id_)
        late = [Ended(claim, other) for other in every_ending()]

        assert engine.exchange(seat, late, 9).stale == tuple(late)
        assert engine.fetch(id_) == before
        assert before.state is state

    def test_many_endings_at_once_are_each_recorded_at_most_once(self, engine: Engine) -> None:
        """Told twice, told too late, of several kinds and queues: all in one group."""
        jobs = [
            JobSpec(task="t", queue=queue, priority=n % 3) for n in range(8) for queue in ("a", "b")
        ]
        ids = engine.enqueue(jobs)
        seat = join(engine)
        claims = engine.exchange(seat, [], 99).claims
        late = claims[:3]
        engine.exchange(seat, [Ended(claim, Released()) for claim in late], 0)
        good = [Ended(claim, Succeeded(f'"{claim.id}"'), 5, 9) for claim in claims]
        bad = Ended(claims[-1], Failed(ERROR), 5, 9)
        done = engine.exchange(seat, [good[5], *good, bad], 0)
        jobs_now = {id_: engine.fetch(id_) for id_ in ids}

        assert sorted(end.claim.id for end in done.stale) == sorted(
            [*(claim.id for claim in late), claims[5].id, claims[-1].id]
        )
        assert all(jobs_now[claim.id].state is JobState.QUEUED for claim in late)
        for claim in claims[3:]:
            job = jobs_now[claim.id]
            assert (job.state, job.result) == (JobState.SUCCEEDED, f'"{claim.id}"')

    @pytest.mark.parametrize("ending", every_ending())
    @pytest.mark.parametrize("unwanted", [False, True])
    def test_an_old_claim_is_stale(self, engine: Engine, ending: Ending, unwanted: bool) -> None:
        """Once a job is claimed anew, the earlier claim has no say, even by the same worker.

        Whatever it says, and also when the job is about to be cancelled.
        """
        (id_,) = engine.enqueue([spec()])
        seat = join(engine)
        (old,) = engine.exchange(seat, [], 1).claims
        (new,) = engine.exchange(seat, [Ended(old, Released())], 1).claims
        if unwanted:
            engine.cancel([id_], "by a test")
        before = engine.fetch(id_)
        late = Ended(old, ending)

        assert engine.exchange(seat, [late], 0).stale == (late,)
        assert engine.fetch(id_) == before
        assert before.state is JobState.RUNNING
        assert engine.exchange(seat, [Ended(new, Succeeded("2"))], 0).stale == ()
        assert engine.fetch(id_).result == (None if unwanted else "2")

    # Death and leaving

    def test_a_dead_workers_jobs_are_rescued(self, engine: Engine) -> None:
        """What it ran is charged with a crash; what it only held goes back unburnt."""
        ran, held = engine.enqueue([spec()] * 2)
        dead, alive = join(engine, "dead"), join(engine, "alive")
        claims = engine.exchange(dead, [], 2).claims
        show_running(dead, claims[0])
        self.kill(engine, dead)
        rescued = {job.id: job for job in engine.rescue(alive)}
        again = engine.exchange(alive, [], 9).claims

        assert rescued.keys() == {ran, held}
        assert rescued[ran].was_running
        assert not rescued[held].was_running
        assert {job.worker for job in rescued.values()} == {"dead"}
        assert [(c.id, c.attempts, c.crashes) for c in again] == [(ran, 2, 1), (held, 1, 0)]
        assert engine.rescue(alive) == []

    def test_the_dead_cannot_settle(self, engine: Engine) -> None:
        """What a worker says after its jobs were taken is stale."""
        (id_,) = engine.enqueue([spec()])
        dead, alive = join(engine, "dead"), join(engine, "alive")
        (claim,) = engine.exchange(dead, [], 1).claims
        self.kill(engine, dead)
        engine.rescue(alive)
        late = Ended(claim, Succeeded("1"))

        assert engine.exchange(alive, [late], 0).stale == (late,)
        assert engine.fetch(id_).state is JobState.QUEUED

    def test_the_living_are_never_robbed(self, engine: Engine, clock: ManualClock) -> None:
        """However long they take, and whatever the wall clock says."""
        engine.enqueue([spec()])
        slow, other = join(engine, "slow"), join(engine, "other")
        (claim,) = engine.exchange(slow, [], 1).claims
        for jump in (3600.0, 86_400.0, -200_000.0):
            clock.advance(jump)
            assert engine.rescue(other) == []

        assert engine.exchange(slow, [Ended(claim, Succeeded("1"))], 0).stale == ()

    def test_poison_ends_dead(self, engine: Engine) -> None:
        """A job that keeps taking its worker with it uses up its crash budget."""
        (id_,) = engine.enqueue([spec()])
        alive = join(engine, "alive")
        for n in range(CRASH_BUDGET):
            victim = join(engine, f"victim{n}")
            (claim,) = engine.exchange(victim, [], 1).claims
            show_running(victim, claim)
            self.kill(engine, victim)
            engine.rescue(alive)
        job = engine.fetch(id_)

        assert (job.state, job.crashes, job.retries) == (JobState.DEAD, CRASH_BUDGET, 0)
        assert engine.exchange(alive, [], 9).claims == ()

    def test_leaving_gives_everything_back(self, engine: Engine) -> None:
        """A clean stop charges nothing."""
        ids = engine.enqueue([spec()] * 3)
        leaver, other = join(engine, "leaver"), join(engine, "other")
        engine.exchange(leaver, [], 2)
        engine.leave(leaver)
        claims = engine.exchange(other, [], 9).claims

        assert [(c.id, c.attempts, c.crashes) for c in claims] == [(i, 1, 0) for i in ids]
