# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""Producing, claiming, time and waking."""

from __future__ import annotations

import select
import threading

import pytest

from bgworker.clock import ManualClock
from bgworker.contracts import Engine
from bgworker.errors import UnknownJob
from bgworker.model import Ended, JobId, JobSpec, Released, Succeeded, TaskPolicy
from bgworker.states import JobState
from bgworker.testing.hooks import EngineHooks, join, profile, spec


class ClaimTests(EngineHooks):
    """From ``enqueue`` to the hands of a worker."""

    # Producing

    def test_ids_are_new_and_in_order(self, engine: Engine) -> None:
        """One id per job, in the order asked for, over calls of any size."""
        ids = [*engine.enqueue([spec()] * 3), *engine.enqueue([]), *engine.enqueue([spec()])]

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

    @pytest.mark.parametrize("jobs", [0, 1, 7, 63, 64, 65, 200])
    def test_like_jobs_are_stored_each(self, engine: Engine, jobs: int) -> None:
        """One per argument, in their order, each like the job that was shown."""
        like = JobSpec(task="t", queue="q", priority=2, run_at=0, expires_at=2**50)
        ids = engine.enqueue_each(like, [f"[[{n}],{{}}]" for n in range(jobs)])

        records = [engine.fetch(id_) for id_ in ids]
        assert [record.args for record in records] == [f"[[{n}],{{}}]" for n in range(jobs)]
        assert {(r.task, r.queue, r.priority) for r in records} <= {("t", "q", 2)}
        claims = engine.exchange(join(engine), [], jobs + 1).claims
        assert [claim.id for claim in claims] == list(ids)

    def test_like_jobs_of_one_key_are_one_job(self, engine: Engine) -> None:
        """Options that look at other jobs hold among those of one call too."""
        first, second = engine.enqueue_each(JobSpec(task="t", unique="k"), ["[[1],{}]", "[[2],{}]"])

        assert first == second
        assert engine.fetch(first).args == "[[1],{}]"

    def test_jobs_of_many_kinds_keep_their_order(self, engine: Engine) -> None:
        """However they are stored, the ids are those of the jobs in the order asked for."""
        specs = [JobSpec(task="t", queue="ab"[n // 3 % 2], args=f"[[{n}],{{}}]") for n in range(20)]
        ids = engine.enqueue(specs)

        assert ids == sorted(ids, key=int)
        assert [(r.queue, r.args) for r in map(engine.fetch, ids)] == [
            (job.queue, job.args) for job in specs
        ]

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
        seat = join(engine)
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
        seat = join(engine)
        claims = [*engine.exchange(seat, [], 3).claims, *engine.exchange(seat, [], 99).claims]

        assert [claim.task for claim in claims] == ["t5", "t1", "t4", "t0", "t2", "t6", "t3"]

    def test_the_best_priority_is_found_among_many_queues(self, engine: Engine) -> None:
        """Whatever it is called, and however much waits elsewhere."""
        engine.enqueue([JobSpec(task="t", queue=f"a{n}", priority=9) for n in range(150)])
        (urgent,) = engine.enqueue([JobSpec(task="t", queue="z", priority=0)])

        assert [claim.id for claim in engine.exchange(join(engine), [], 1).claims] == [urgent]

    def test_no_queue_of_many_waits_for_ever(self, engine: Engine, clock: ManualClock) -> None:
        """A job comes to its turn although all other queues are filled again and again."""
        worker = join(engine)
        ids = engine.enqueue([JobSpec(task="t", queue=f"q{n}") for n in range(150)])
        left = set(ids)
        for _ in range(300):
            (claim,) = engine.exchange(worker, [], 1).claims
            left.discard(claim.id)
            engine.exchange(worker, [Ended(claim, Succeeded("null"))], 0)
            engine.enqueue([JobSpec(task="t", queue=claim.queue)])
            clock.advance(0.007)

        assert not left

    def test_a_claim_is_what_was_asked_for(self, engine: Engine) -> None:
        """Never more than wanted, and nothing when nothing is wanted."""
        engine.enqueue([spec()] * 5)
        seat = join(engine)

        assert engine.exchange(seat, [], 0).claims == ()
        assert len(engine.exchange(seat, [], 2).claims) == 2
        assert len(engine.exchange(seat, [], 9).claims) == 3
        assert engine.exchange(seat, [], 9).claims == ()

    def test_a_claimed_job_is_running(self, engine: Engine) -> None:
        """With its attempt counted and its worker named."""
        (id_,) = engine.enqueue([spec()])
        seat = join(engine, "w1")
        (claim,) = engine.exchange(seat, [], 1).claims
        job = engine.fetch(id_)

        assert (claim.id, claim.attempts) == (id_, 1)
        assert (job.state, job.attempts, job.worker) == (JobState.RUNNING, 1, "w1")

    def test_only_named_queues_are_served(self, engine: Engine) -> None:
        """A worker for some queues leaves the others alone."""
        engine.enqueue([JobSpec(task="t", queue=queue) for queue in ("a", "b", "c", "a")])
        seat = join(engine, queues=("a", "c", "nobody"))

        assert [c.queue for c in engine.exchange(seat, [], 9).claims] == ["a", "c", "a"]

    def test_declined_tasks_are_passed_over(self, engine: Engine) -> None:
        """By the worker that declines them alone; they keep their place for the others."""
        tasks = ("known", "new", "known", "newer", "new", "known")
        ids = engine.enqueue(
            [JobSpec(task=task, queue="ab"[n % 2]) for n, task in enumerate(tasks)]
        )
        old, new = join(engine, "old"), join(engine, "new")
        first = engine.exchange(old, [], 2).claims
        assert [claim.task for claim in first] == ["known", "new"]

        old.decline(frozenset({"new", "newer"}))
        given_back = [Ended(first[1], Released())]
        assert [c.id for c in engine.exchange(old, given_back, 9).claims] == [ids[2], ids[5]]
        assert engine.exchange(old, [], 9).claims == ()
        assert engine.fetch(ids[1]).state is JobState.QUEUED
        assert [c.id for c in engine.exchange(new, [], 2).claims] == [ids[1], ids[3]]

        old.decline(frozenset())
        assert [c.id for c in engine.exchange(old, [], 9).claims] == [ids[4]]

    def test_a_job_that_comes_back_is_found_among_declined_ones(self, engine: Engine) -> None:
        """It takes its old place, in front of what was passed over."""
        ids = engine.enqueue([JobSpec(task=task) for task in ("a", "new", "b", "new")])
        old, other = join(engine, "old"), join(engine, "other")
        (claim,) = engine.exchange(other, [], 1).claims
        old.decline(frozenset({"new"}))
        assert [c.id for c in engine.exchange(old, [], 9).claims] == [ids[2]]
        assert engine.exchange(old, [], 9).claims == ()
        engine.exchange(other, [Ended(claim, Released())], 0)
        assert [c.id for c in engine.exchange(old, [], 9).claims] == [ids[0]]
        (later,) = engine.enqueue([JobSpec(task="c", priority=9)])
        (urgent,) = engine.enqueue([JobSpec(task="d", priority=1)])
        assert [c.id for c in engine.exchange(old, [], 9).claims] == [urgent, later]

    def test_declined_tasks_with_limits_are_passed_over(self, engine: Engine) -> None:
        """They wait in lanes, where they hold up nobody either."""
        tasks = [TaskPolicy(name=name, queue="q", priority=5, concurrency=1) for name in "ab"]
        seat = engine.join(profile("w"), tasks)
        specs = [JobSpec(task=task.name, queue="q", lane=task.lane(None)) for task in tasks * 2]
        a, b, *_ = engine.enqueue(specs)
        seat.decline(frozenset({"a"}))
        assert [c.id for c in engine.exchange(seat, [], 9).claims] == [b]
        seat.decline(frozenset())
        assert [c.id for c in engine.exchange(seat, [], 9).claims] == [a]

    def test_no_job_is_claimed_twice(self, engine: Engine) -> None:
        """Four workers at once, each in its own thread."""
        engine.enqueue([spec()] * 200)
        got: list[str] = []

        def work(name: str) -> None:
            seat = join(engine, name)
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
        seat = join(engine)
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
        early = engine.enqueue([spec()])
        late = engine.enqueue([JobSpec(task="t", run_at=clock.now() - 9_000)])
        seat = join(engine)

        assert [c.id for c in engine.exchange(seat, [], 9).claims] == [*early, *late]

    def test_due_jobs_queue_up_behind_waiting_ones(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """The place in the queue is that of the moment a job became available."""
        (delayed,) = engine.enqueue([JobSpec(task="t", run_at=clock.now() + 1_000)])
        (waiting,) = engine.enqueue([spec()])
        seat = join(engine)
        clock.advance(2)
        engine.exchange(seat, [], 0)
        (newest,) = engine.enqueue([spec()])

        claims = [claim for _ in range(3) for claim in engine.exchange(seat, [], 1).claims]
        assert [c.id for c in claims] == [waiting, delayed, newest]

    def test_due_jobs_are_available_although_nobody_has_time(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """What is due counts as waiting, not as scheduled."""
        (id_,) = engine.enqueue([JobSpec(task="t", run_at=clock.now() + 1_000)])
        seat = join(engine)
        clock.advance(1)
        engine.exchange(seat, [], 0)

        assert engine.fetch(id_).state is JobState.QUEUED

    # Waking

    def test_a_worker_is_rung(self, engine: Engine) -> None:
        """Its descriptor becomes readable after an enqueue, and silent again."""
        seat = join(engine)
        seat.silence()
        assert not select.select([seat], [], [], 0)[0]
        engine.enqueue([spec()])
        assert select.select([seat], [], [], 5)[0]
        seat.silence()
        assert not select.select([seat], [], [], 0)[0]

    def test_waiting_ends_with_the_job(self, engine: Engine) -> None:
        """A waiter in another thread is woken by the settlement."""
        (id_,) = engine.enqueue([spec()])
        seat = join(engine)
        results: list[str | None] = []
        waiter = threading.Thread(target=lambda: results.append(engine.wait(id_, 20).result))
        waiter.start()
        (claim,) = engine.exchange(seat, [], 1).claims
        engine.exchange(seat, [Ended(claim, Succeeded("7"))], 0)
        waiter.join(20)

        assert results == ["7"]

    def test_waiting_has_an_end(self, engine: Engine) -> None:
        """``TimeoutError`` when the job does not end in time."""
        (id_,) = engine.enqueue([spec()])
        with pytest.raises(TimeoutError):
            engine.wait(id_, 0.02)

    # What workers declare

    def test_a_tasks_queue_is_known_from_its_workers(self, engine: Engine) -> None:
        """So that it can be enqueued without importing it; the last word counts."""
        assert engine.policy_of("t") is None
        engine.join(profile("w1"), [TaskPolicy(name="t", queue="a", priority=3)])
        assert engine.policy_of("t") == TaskPolicy(name="t", queue="a", priority=3)
        engine.join(profile("w2"), [TaskPolicy(name="t", queue="b", priority=4)])
        assert engine.policy_of("t") == TaskPolicy(name="t", queue="b", priority=4)
