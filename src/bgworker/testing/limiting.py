# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""Limits, pauses, keys and expiry: what may start, and which job is meant."""

from __future__ import annotations

from collections.abc import Sequence

from bgworker.clock import ManualClock
from bgworker.contracts import Engine, Membership
from bgworker.model import (
    Claim,
    Ended,
    JobSpec,
    QueuePolicy,
    Released,
    Retrying,
    Succeeded,
    TaskPolicy,
    WorkerProfile,
)
from bgworker.states import JobState
from bgworker.testing.hooks import ERROR, EngineHooks, show_running

TWO = TaskPolicy(name="two", queue="q", priority=5, concurrency=2)
SLOW = TaskPolicy(name="slow", queue="q", priority=5, rate_limit=2.0)
FREE = TaskPolicy(name="free", queue="q", priority=5)


def member(
    engine: Engine,
    name: str = "w",
    *,
    rate: float | None = None,
    limits: tuple[QueuePolicy, ...] = (),
    tasks: Sequence[TaskPolicy] = (TWO, SLOW, FREE),
) -> Membership:
    """A seat for a worker that declares limits."""
    profile = WorkerProfile(
        name=name, host="here", pid=1, concurrency=2, rate_limit=rate, limits=limits
    )
    return engine.join(profile, tasks)


def job(policy: TaskPolicy, key: str | None = None, *, priority: int = 5) -> JobSpec:
    """A job of this task."""
    return JobSpec(task=policy.name, queue=policy.queue, priority=priority, lane=policy.lane(key))


def claim(engine: Engine, seat: Membership, want: int = 9) -> Sequence[Claim]:
    """What a worker gets that wants this many."""
    return engine.exchange(seat, [], want).claims


def succeed(engine: Engine, seat: Membership, one: Claim, want: int = 9) -> Sequence[Claim]:
    """End a job well and ask for more in the same breath."""
    return engine.exchange(seat, [Ended(one, Succeeded("1"), 1, 2)], want).claims


class LimitTests(EngineHooks):
    """A limit holds over all workers, whatever they die of, and holds up nobody else."""

    # Concurrency

    def test_a_tasks_concurrency_holds_over_all_workers(self, engine: Engine) -> None:
        """An ending makes room, in the same transaction."""
        ids = engine.enqueue([job(TWO)] * 5)
        one, other = member(engine, "w1"), member(engine, "w2")
        first = claim(engine, one)

        assert [c.id for c in first] == list(ids[:2])
        assert claim(engine, other) == ()
        assert [c.id for c in succeed(engine, one, first[0])] == [ids[2]]
        assert [c.id for c in succeed(engine, one, first[1], want=0)] == []
        assert [c.id for c in claim(engine, other)] == [ids[3]]

    def test_a_full_task_holds_up_no_other(self, engine: Engine) -> None:
        """However many of it wait in front."""
        engine.enqueue([job(TWO)] * 30)
        free = engine.enqueue([job(FREE)] * 3)
        claims = claim(engine, member(engine))

        assert [c.id for c in claims if c.task == "free"] == list(free)
        assert sum(c.task == "two" for c in claims) == 2

    def test_each_concurrency_key_counts_by_itself(self, engine: Engine) -> None:
        """The order among them is that of the queue."""
        one = TaskPolicy(name="one", queue="q", priority=5, concurrency=1)
        ids = engine.enqueue([job(one, key) for key in ("a", "a", "b", "c", "b", "a")])
        seat = member(engine, tasks=[one])
        first = claim(engine, seat)

        assert [c.id for c in first] == [ids[0], ids[2], ids[3]]
        assert [c.id for c in succeed(engine, seat, first[0])] == [ids[1]]
        assert [c.id for c in succeed(engine, seat, first[2])] == []
        assert [c.id for c in succeed(engine, seat, first[1])] == [ids[4]]

    def test_many_full_keys_hold_up_no_other(self, engine: Engine, clock: ManualClock) -> None:
        """However long their jobs run."""
        one = TaskPolicy(name="one", queue="q", priority=5, concurrency=1)
        keys = [f"k{n}" for n in range(120)]
        engine.enqueue([job(one, key) for key in keys * 2])
        seat = member(engine, tasks=[one])
        running = [*claim(engine, seat, 200), *claim(engine, seat, 200)]
        assert len(running) == 120
        clock.advance(1)
        (other,) = engine.enqueue([job(one, "other")])

        assert [c.id for c in claim(engine, seat, 200)] == [other]

    def test_every_way_out_of_running_makes_room(self, engine: Engine, clock: ManualClock) -> None:
        """Given back, to be retried, or taken from the dead."""
        ids = engine.enqueue([job(TWO)] * 4)
        seat = member(engine, "w1")
        first = claim(engine, seat)
        later = Retrying(ERROR, clock.now() + 60_000)
        second = engine.exchange(seat, [Ended(first[0], later), Ended(first[1], Released())], 9)
        assert [c.id for c in second.claims] == [ids[1], ids[2]]

        show_running(seat, second.claims[0])
        self.kill(engine, seat)
        rescuer = member(engine, "w2")
        engine.rescue(rescuer)
        assert [c.id for c in claim(engine, rescuer)] == [ids[1], ids[2]]

    def test_a_queues_concurrency_counts_all_its_tasks(self, engine: Engine) -> None:
        """Whether these have limits of their own or not."""
        seat = member(engine, limits=(QueuePolicy(name="q", concurrency=3),))
        engine.enqueue([job(TWO), job(FREE), job(TWO), job(TWO), job(FREE), job(FREE)])
        elsewhere = engine.enqueue([JobSpec(task="free", queue="other")])
        first = claim(engine, seat)

        assert [c.task for c in first if c.queue == "q"] == ["two", "free", "two"]
        assert [c.id for c in first if c.queue == "other"] == list(elsewhere)
        assert [c.task for c in succeed(engine, seat, first[1])] == ["free"]

    def test_a_limit_that_is_declared_no_more_is_gone(self, engine: Engine) -> None:
        """What the newest worker's application says is what holds."""
        engine.enqueue([job(TWO)] * 5)
        assert len(claim(engine, member(engine, "w1"))) == 2
        unlimited = TaskPolicy(name="two", queue="q", priority=5)

        assert len(claim(engine, member(engine, "w2", tasks=[unlimited]))) == 3

    # Rates

    def test_a_tasks_rate_holds_over_all_workers(self, engine: Engine, clock: ManualClock) -> None:
        """The engine says when the next may start; nobody has to ask before."""
        ids = engine.enqueue([job(SLOW)] * 4)
        one, other = member(engine, "w1"), member(engine, "w2")
        first = engine.exchange(one, [], 9)

        assert [c.id for c in first.claims] == [ids[0]]
        assert first.next_due_at == clock.now() + 500
        assert claim(engine, other) == ()
        clock.advance(0.499)
        assert claim(engine, other) == ()
        clock.advance(0.001)
        assert [c.id for c in claim(engine, other)] == [ids[1]]
        clock.advance(5)
        assert [c.id for c in claim(engine, one)] == [ids[2]], "what was not used is not saved up"

    def test_a_rate_holds_up_no_other_task(self, engine: Engine) -> None:
        """However many wait for it in front."""
        engine.enqueue([job(SLOW)] * 30)
        engine.enqueue([job(FREE)] * 3)

        assert [c.task for c in claim(engine, member(engine))] == ["slow", "free", "free", "free"]

    def test_a_clock_set_back_closes_no_rate(self, engine: Engine, clock: ManualClock) -> None:
        """It would stay closed for as long as the clock was set back."""
        engine.enqueue([job(SLOW)] * 3)
        seat = member(engine)
        assert len(claim(engine, seat)) == 1
        clock.advance(-3600)

        assert len(claim(engine, seat)) == 1
        assert claim(engine, seat) == ()
        clock.advance(0.5)
        assert len(claim(engine, seat)) == 1

    def test_the_rate_of_workers_counts_everything_they_start(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """Over all workers that were given one; others do not care."""
        engine.enqueue([job(FREE)] * 9)
        one, other = member(engine, "w1", rate=4.0), member(engine, "w2", rate=4.0)

        assert len(claim(engine, one)) == 1
        assert claim(engine, other) == ()
        clock.advance(0.25)
        assert len(claim(engine, other)) == 1
        assert len(claim(engine, member(engine, "w3"), 2)) == 2

    def test_a_queues_rate_counts_all_its_tasks(self, engine: Engine, clock: ManualClock) -> None:
        """And no other queue's."""
        seat = member(engine, limits=(QueuePolicy(name="q", rate_limit=2.0),))
        engine.enqueue([job(FREE), job(TWO), job(FREE)])
        engine.enqueue([JobSpec(task="free", queue="other")] * 2)

        assert [c.queue for c in claim(engine, seat)] == ["q", "other", "other"]
        clock.advance(0.5)
        assert [c.task for c in claim(engine, seat)] == ["two"]

    # Order

    def test_limited_and_free_jobs_share_one_order(self, engine: Engine) -> None:
        """Priority first, then as they came."""
        specs = [job(FREE), job(TWO, priority=1), job(FREE, priority=1), job(SLOW, priority=9)]
        ids = engine.enqueue(specs)

        claims = claim(engine, member(engine))
        assert [c.id for c in claims] == [ids[1], ids[2], ids[0], ids[3]]

    # Pauses

    def test_a_paused_queue_starts_nothing(self, engine: Engine) -> None:
        """It takes jobs, and goes on where it stood."""
        seat = member(engine)
        engine.pause("q")
        ids = engine.enqueue([job(FREE), job(TWO)])
        elsewhere = engine.enqueue([JobSpec(task="free", queue="other")])

        assert [c.id for c in claim(engine, seat)] == list(elsewhere)
        engine.pause("q", paused=False)
        assert [c.id for c in claim(engine, seat)] == list(ids)

    def test_many_paused_queues_hold_up_no_other(self, engine: Engine) -> None:
        """Whatever waits in them, and however urgent it is."""
        for n in range(120):
            engine.pause(f"a{n}")
        engine.enqueue([JobSpec(task="free", queue=f"a{n}", priority=0) for n in range(120)])
        (other,) = engine.enqueue([JobSpec(task="free", queue="z", priority=9)])

        assert [c.id for c in claim(engine, member(engine))] == [other]

    def test_a_pause_outlives_workers(self, engine: Engine) -> None:
        """A worker that comes and declares limits of the queue does not undo it."""
        engine.pause("q")
        engine.enqueue([job(FREE)])

        assert claim(engine, member(engine, "w1")) == ()
        limited = member(engine, "w2", limits=(QueuePolicy(name="q", concurrency=5),))
        assert claim(engine, limited) == ()
        assert claim(engine, member(engine, "w3", limits=(QueuePolicy(name="q"),))) == ()

    # Keys

    def test_one_unique_job_of_a_key_lives_at_a_time(self, engine: Engine) -> None:
        """Whoever comes second gets the first one's id; other tasks have keys of their own."""
        spec = JobSpec(task="t", unique="k")
        (first,) = engine.enqueue([spec])
        seat = member(engine)
        again = engine.enqueue([spec, JobSpec(task="t"), JobSpec(task="u", unique="k"), spec])
        (running, *_) = claim(engine, seat)
        while_running = engine.enqueue([spec])
        succeed(engine, seat, running, want=0)
        afterwards = engine.enqueue([spec])

        assert again[0] == again[3] == while_running[0] == first == running.id
        assert len({*again, *afterwards}) == 4

    def test_an_idempotency_key_means_its_first_job(self, engine: Engine) -> None:
        """Also after that has ended."""
        spec = JobSpec(task="t", idempotency_key="k")
        first = engine.enqueue([spec, spec])
        seat = member(engine)
        (running,) = claim(engine, seat)
        succeed(engine, seat, running, want=0)
        afterwards = engine.enqueue([spec])
        assert engine.find("u", "k") is None
        other = engine.enqueue([JobSpec(task="u", idempotency_key="k")])
        assert [engine.find("t", "k")] == [engine.enqueue([spec])[0]]
        assert [engine.find("u", "k")] == other

        assert {*first, *afterwards} == {running.id}
        assert other != afterwards

    # Expiry

    def test_a_job_that_comes_too_late_is_cancelled(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """When its turn comes; those behind it take its place at once."""
        now = clock.now()
        expiring = [JobSpec(task="t", expires_at=now + 1000)] * 3
        ids = engine.enqueue([*expiring, JobSpec(task="t"), JobSpec(task="t")])
        seat = member(engine)
        (early,) = claim(engine, seat, 1)
        clock.advance(1)
        done = engine.exchange(seat, [], 2)

        assert early.id == ids[0]
        assert [c.id for c in done.expired] == list(ids[1:3])
        assert [c.id for c in done.claims] == list(ids[3:])
        for id_ in ids[1:3]:
            record = engine.fetch(id_)
            assert record.state is JobState.CANCELLED
            assert '"type":"Expired"' in (record.error or "")
            assert record.started_at is None
