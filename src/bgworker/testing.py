# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""The tests every engine has to pass; for a third party's engine too.

class TestMine(EngineSuite):
def open_engine(self, clock): return MyEngine(clock=clock)
def kill(self, engine, seat): ...
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from bgworker.clock import ManualClock
from bgworker.codec import dump_error
from bgworker.contracts import Engine, Membership
from bgworker.errors import UnknownJob
from bgworker.model import (
    CRASH_BUDGET,
    Claim,
    Dead,
    Ended,
    Ending,
    Failed,
    JobId,
    JobSpec,
    JobState,
    Released,
    Retrying,
    Succeeded,
    TaskPolicy,
    WorkerProfile,
)
from bgworker.scoreboard import Scoreboard

ERROR = dump_error("ValueError", "no")
FINAL: Sequence[tuple[Ending, JobState]] = (
    (Succeeded("42"), JobState.SUCCEEDED),
    (Failed(ERROR), JobState.FAILED),
    (Dead(ERROR), JobState.DEAD),
)


class EngineSuite:
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

    # Producing

    def test_ids_are_new_and_in_order(self, engine: Engine) -> None:
        """One id per job, in the order asked for, over calls of any size."""
        ids = [*engine.enqueue([_spec()] * 3), *engine.enqueue([]), *engine.enqueue([_spec()])]

        assert len(set(ids)) == 4
        assert ids == sorted(ids, key=int)

    def test_a_job_is_stored_as_asked(self, engine: Engine, clock: ManualClock) -> None:
        """Nothing is lost or invented on the way."""
        (id_,) = engine.enqueue([JobSpec(task="t", args='[[1],{"a":2}]', queue="q", priority=-3)])
        job = engine.fetch(id_)

        assert (job.id, job.task, job.args) == (id_, "t", '[[1],{"a":2}]')
        assert (job.queue, job.priority, job.state) == ("q", -3, JobState.QUEUED)
        assert (job.enqueued_at, job.run_at) == (clock.now(), clock.now())
        assert (job.attempts, job.retries, job.crashes) == (0, 0, 0)
        assert (job.worker, job.result, job.error) == (None, None, None)

    def test_an_unknown_job_is_an_error(self, engine: Engine) -> None:
        """Never a state of its own, and never a wait for ever."""
        for id_ in ("1", "0", "-1", "nonsense", ""):
            with pytest.raises(UnknownJob):
                engine.fetch(JobId(id_))
            with pytest.raises(UnknownJob):
                engine.wait(JobId(id_), 0.01)

    def test_hostile_text_is_only_text(self, engine: Engine) -> None:
        """Names and arguments come back as they went in."""
        name = "x'; DROP TABLE job; --\x00\x1b[31m\u202e\U0001f680"
        (id_,) = engine.enqueue([JobSpec(task=name, queue=name, args=f'[["{name[:5]}"],{{}}]')])
        seat = _join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims

        assert (claim.task, claim.queue) == (name, name)
        assert engine.fetch(id_).task == name

    # Claiming

    def test_claims_are_fifo_within_priority(self, engine: Engine) -> None:
        """Lower numbers first; over all queues of the worker together."""
        specs = [
            JobSpec(task=f"t{n}", queue="ab"[n % 2], priority=priority)
            for n, priority in enumerate((5, 1, 5, 9, 1, -2, 5))
        ]
        engine.enqueue(specs)
        seat = _join(engine)
        claims = [*engine.exchange(seat, [], 3).claims, *engine.exchange(seat, [], 99).claims]

        assert [claim.task for claim in claims] == ["t5", "t1", "t4", "t0", "t2", "t6", "t3"]

    def test_a_claim_is_what_was_asked_for(self, engine: Engine) -> None:
        """Never more than wanted, and nothing when nothing is wanted."""
        engine.enqueue([_spec()] * 5)
        seat = _join(engine)

        assert engine.exchange(seat, [], 0).claims == ()
        assert len(engine.exchange(seat, [], 2).claims) == 2
        assert len(engine.exchange(seat, [], 9).claims) == 3
        assert engine.exchange(seat, [], 9).claims == ()

    def test_a_claimed_job_is_running(self, engine: Engine) -> None:
        """With its attempt counted and its worker named."""
        (id_,) = engine.enqueue([_spec()])
        seat = _join(engine, "w1")
        (claim,) = engine.exchange(seat, [], 1).claims
        job = engine.fetch(id_)

        assert (claim.id, claim.attempts) == (id_, 1)
        assert (job.state, job.attempts, job.worker) == (JobState.RUNNING, 1, "w1")

    def test_only_named_queues_are_served(self, engine: Engine) -> None:
        """A worker for some queues leaves the others alone."""
        engine.enqueue([JobSpec(task="t", queue=queue) for queue in ("a", "b", "c", "a")])
        seat = _join(engine, queues=("a", "c", "nobody"))

        assert [c.queue for c in engine.exchange(seat, [], 9).claims] == ["a", "c", "a"]

    def test_no_job_is_claimed_twice(self, engine: Engine) -> None:
        """Four workers at once, each in its own thread."""
        engine.enqueue([_spec()] * 200)
        got: list[str] = []

        def work(name: str) -> None:
            seat = _join(engine, name)
            while claims := engine.exchange(seat, [], 7).claims:
                got.extend(claim.id for claim in claims)

        threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert len(got) == len(set(got)) == 200

    # Time

    def test_a_delayed_job_waits(self, engine: Engine, clock: ManualClock) -> None:
        """Until it is due, and the worker is told when that will be."""
        (id_,) = engine.enqueue([JobSpec(task="t", run_at=clock.now() + 5_000)])
        seat = _join(engine)
        first = engine.exchange(seat, [], 9)
        clock.advance(4.999)
        second = engine.exchange(seat, [], 9)
        clock.advance(0.001)
        third = engine.exchange(seat, [], 9)

        assert (first.claims, first.next_due_at) == ((), clock.now())
        assert (second.claims, second.next_due_at) == ((), clock.now())
        assert [claim.id for claim in third.claims] == [id_]
        assert third.next_due_at is None

    def test_a_time_in_the_past_is_now(self, engine: Engine, clock: ManualClock) -> None:
        """Such a job is queued at once, behind those that wait already."""
        early = engine.enqueue([_spec()])
        late = engine.enqueue([JobSpec(task="t", run_at=clock.now() - 9_000)])
        seat = _join(engine)

        assert [c.id for c in engine.exchange(seat, [], 9).claims] == [*early, *late]

    def test_due_jobs_queue_up_behind_waiting_ones(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """The place in the queue is that of the moment a job became available."""
        (delayed,) = engine.enqueue([JobSpec(task="t", run_at=clock.now() + 1_000)])
        (waiting,) = engine.enqueue([_spec()])
        seat = _join(engine)
        clock.advance(2)
        engine.exchange(seat, [], 0)
        (newest,) = engine.enqueue([_spec()])

        claims = engine.exchange(seat, [], 9).claims
        assert [c.id for c in claims] == [waiting, delayed, newest]

    def test_due_jobs_are_available_although_nobody_has_time(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """What is due counts as waiting, not as scheduled."""
        (id_,) = engine.enqueue([JobSpec(task="t", run_at=clock.now() + 1_000)])
        seat = _join(engine)
        clock.advance(1)
        engine.exchange(seat, [], 0)

        assert engine.fetch(id_).state is JobState.QUEUED

    # Endings

    @pytest.mark.parametrize(("ending", "state"), FINAL)
    def test_an_ending_is_recorded(self, engine: Engine, ending: Ending, state: JobState) -> None:
        """With its times, once, and for good."""
        (id_,) = engine.enqueue([_spec()])
        seat = _join(engine, "w1")
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
        ids = engine.enqueue([_spec()] * 2)
        seat = _join(engine)
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
        ids = engine.enqueue([_spec()] * 3)
        seat = _join(engine)
        claims = engine.exchange(seat, [], 2).claims
        again = engine.exchange(seat, [Ended(c, Released()) for c in claims], 9).claims

        assert [claim.id for claim in again] == list(ids)
        assert [claim.attempts for claim in again] == [1, 1, 1]
        assert again[0].number != claims[0].number

    def test_a_parked_job_comes_back_later(self, engine: Engine, clock: ManualClock) -> None:
        """A worker that does not know a task gives it back for a while."""
        (id_,) = engine.enqueue([_spec()])
        seat = _join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims
        parked = Ended(claim, Released(run_at=clock.now() + 1_000))
        done = engine.exchange(seat, [parked], 9)

        assert (done.claims, done.next_due_at) == ((), clock.now() + 1_000)
        assert engine.fetch(id_).state is JobState.SCHEDULED
        clock.advance(1)
        assert [c.attempts for c in engine.exchange(seat, [], 9).claims] == [1]

    def test_settling_and_claiming_are_one_step(self, engine: Engine) -> None:
        """What is settled and what is claimed come from one transaction."""
        engine.enqueue([_spec()] * 4)
        seat = _join(engine)
        seen = 0
        ended: list[Ended] = []
        while claims := engine.exchange(seat, ended, 1).claims:
            seen += len(claims)
            ended = [Ended(claim, Succeeded("1")) for claim in claims]

        assert seen == 4

    # Fencing

    @pytest.mark.parametrize(("ending", "state"), FINAL)
    def test_an_ending_is_recorded_at_most_once(
        self, engine: Engine, ending: Ending, state: JobState
    ) -> None:
        """Every later word on the same claim is stale and changes nothing."""
        (id_,) = engine.enqueue([_spec()])
        seat = _join(engine)
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.exchange(seat, [Ended(claim, ending)], 0)
        before = engine.fetch(id_)
        late = [Ended(claim, other) for other in _every_ending()]

        assert engine.exchange(seat, late, 9).stale == tuple(late)
        assert engine.fetch(id_) == before
        assert before.state is state

    def test_an_old_claim_is_stale(self, engine: Engine) -> None:
        """Once a job is claimed anew, the earlier claim has no say, even by the same worker."""
        (id_,) = engine.enqueue([_spec()])
        seat = _join(engine)
        (old,) = engine.exchange(seat, [], 1).claims
        (new,) = engine.exchange(seat, [Ended(old, Released())], 1).claims
        late = Ended(old, Succeeded("1"))

        assert engine.exchange(seat, [late], 0).stale == (late,)
        assert engine.fetch(id_).state is JobState.RUNNING
        assert engine.exchange(seat, [Ended(new, Succeeded("2"))], 0).stale == ()
        assert engine.fetch(id_).result == "2"

    # Death and leaving

    def test_a_dead_workers_jobs_are_rescued(self, engine: Engine) -> None:
        """What it ran is charged with a crash; what it only held goes back unburnt."""
        ran, held = engine.enqueue([_spec()] * 2)
        dead, alive = _join(engine, "dead"), _join(engine, "alive")
        claims = engine.exchange(dead, [], 2).claims
        _show_running(dead, claims[0])
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
        (id_,) = engine.enqueue([_spec()])
        dead, alive = _join(engine, "dead"), _join(engine, "alive")
        (claim,) = engine.exchange(dead, [], 1).claims
        self.kill(engine, dead)
        engine.rescue(alive)
        late = Ended(claim, Succeeded("1"))

        assert engine.exchange(alive, [late], 0).stale == (late,)
        assert engine.fetch(id_).state is JobState.QUEUED

    def test_the_living_are_never_robbed(self, engine: Engine, clock: ManualClock) -> None:
        """However long they take, and whatever the wall clock says."""
        engine.enqueue([_spec()])
        slow, other = _join(engine, "slow"), _join(engine, "other")
        (claim,) = engine.exchange(slow, [], 1).claims
        for jump in (3600.0, 86_400.0, -200_000.0):
            clock.advance(jump)
            assert engine.rescue(other) == []

        assert engine.exchange(slow, [Ended(claim, Succeeded("1"))], 0).stale == ()

    def test_poison_ends_dead(self, engine: Engine) -> None:
        """A job that keeps taking its worker with it uses up its crash budget."""
        (id_,) = engine.enqueue([_spec()])
        alive = _join(engine, "alive")
        for n in range(CRASH_BUDGET):
            victim = _join(engine, f"victim{n}")
            (claim,) = engine.exchange(victim, [], 1).claims
            _show_running(victim, claim)
            self.kill(engine, victim)
            engine.rescue(alive)
        job = engine.fetch(id_)

        assert (job.state, job.crashes, job.retries) == (JobState.DEAD, CRASH_BUDGET, 0)
        assert engine.exchange(alive, [], 9).claims == ()

    def test_leaving_gives_everything_back(self, engine: Engine) -> None:
        """A clean stop charges nothing."""
        ids = engine.enqueue([_spec()] * 3)
        leaver, other = _join(engine, "leaver"), _join(engine, "other")
        engine.exchange(leaver, [], 2)
        engine.leave(leaver)
        claims = engine.exchange(other, [], 9).claims

        assert [(c.id, c.attempts, c.crashes) for c in claims] == [(i, 1, 0) for i in ids]

    # Waking

    def test_a_worker_is_rung(self, engine: Engine) -> None:
        """Its descriptor becomes readable after an enqueue, and silent again."""
        import select

        seat = _join(engine)
        seat.silence()
        assert not select.select([seat], [], [], 0)[0]
        engine.enqueue([_spec()])
        assert select.select([seat], [], [], 5)[0]
        seat.silence()
        assert not select.select([seat], [], [], 0)[0]

    def test_waiting_ends_with_the_job(self, engine: Engine) -> None:
        """A waiter in another thread is woken by the settlement."""
        (id_,) = engine.enqueue([_spec()])
        seat = _join(engine)
        results: list[str | None] = []
        waiter = threading.Thread(target=lambda: results.append(engine.wait(id_, 20).result))
        waiter.start()
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.exchange(seat, [Ended(claim, Succeeded("7"))], 0)
        waiter.join(20)

        assert results == ["7"]

    def test_waiting_has_an_end(self, engine: Engine) -> None:
        """``TimeoutError`` when the job does not end in time."""
        (id_,) = engine.enqueue([_spec()])
        with pytest.raises(TimeoutError):
            engine.wait(id_, 0.02)

    # What workers declare

    def test_a_tasks_queue_is_known_from_its_workers(self, engine: Engine) -> None:
        """So that it can be enqueued without importing it; the last word counts."""
        assert engine.policy_of("t") is None
        engine.join(_profile("w1"), [TaskPolicy(name="t", queue="a", priority=3)])
        assert engine.policy_of("t") == ("a", 3)
        engine.join(_profile("w2"), [TaskPolicy(name="t", queue="b", priority=4)])
        assert engine.policy_of("t") == ("b", 4)


def _every_ending() -> Sequence[Ending]:
    return (
        *(ending for ending, _ in FINAL),
        Retrying(ERROR, 0),
        Released(),
        Released(run_at=9),
    )


def _spec() -> JobSpec:
    return JobSpec(task="t")


def _profile(name: str, queues: tuple[str, ...] | None = None) -> WorkerProfile:
    return WorkerProfile(name=name, host="here", pid=1, concurrency=2, queues=queues)


def _join(engine: Engine, name: str = "w", queues: tuple[str, ...] | None = None) -> Membership:
    return engine.join(_profile(name, queues), [])


def _show_running(seat: Membership, claim: Claim) -> None:
    """What a child does when it starts a job."""
    board = Scoreboard(seat.board_fd)
    board.start(0, int(claim.id), claim.number, 1)
    board.close()
