"""The two engines do the same, step for step, and every step is in the table of transitions."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bgworker import cron, every
from bgworker.clock import ManualClock
from bgworker.contracts import Engine, Membership
from bgworker.engines.memory import MemoryEngine, MemorySeat
from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.errors import UnknownJob
from bgworker.inspector import Inspector
from bgworker.model import (
    Cancelled,
    Claim,
    Dead,
    Ended,
    Ending,
    Failed,
    JobId,
    JobSpec,
    QueuePolicy,
    Released,
    Retrying,
    Succeeded,
    Takes,
    TaskPolicy,
    WorkerProfile,
)
from bgworker.scoreboard import Scoreboard
from bgworker.states import TRANSITIONS, WAITING, JobState

QUEUES = ("a", "b", "c")
WORKERS = 3
# Of an application whose schedules change: no tasks, none scheduled, one, two, another expression.
VERSIONS = [
    [
        TaskPolicy(name=name, queue="a", priority=5, concurrency=limit, schedule=schedule)
        for (name, schedule), limit in zip(schedules.items(), (None, 1), strict=False)
    ]
    for schedules in (
        {"s": every(seconds=3), "u": every(seconds=2, missed="all")},
        {"s": every(seconds=3), "u": every(seconds=2, missed="skip")},
        {},
        {"s": every(seconds=5), "u": None},
        {"s": None, "u": cron("* * * * *", missed="all")},
    )
]
KINDS = (
    TaskPolicy(name="t", queue="a", priority=0),
    TaskPolicy(name="few", queue="a", priority=0, concurrency=1),
    TaskPolicy(name="slow", queue="a", priority=0, rate_limit=0.5),
    TaskPolicy(name="both", queue="a", priority=0, rate_limit=300.0, concurrency=2),
)
endings = st.sampled_from(["succeeded", "failed", "dead", "retry", "crash", "release", "cancel"])


class TwoEngines(RuleBasedStateMachine):
    """Every rule is done to both engines; a claim is kept as the pair of what both gave."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.clock = ManualClock()
        self.path = str(Path(self.folder) / "jobs.db")
        self.engines: tuple[Engine, Engine] = (
            SqliteEngine(self.path, clock=self.clock, durable=False),
            MemoryEngine(clock=self.clock),
        )
        self.inspector = Inspector(self.path)
        self.names = 0
        self.seats = [self._join() for _ in range(WORKERS)]
        self.held: list[tuple[int, tuple[Claim, Claim]]] = []
        self.old: list[tuple[Claim, Claim]] = []
        self.states: dict[str, JobState] = {}
        self.doomed: set[str] = set()
        self.fired: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        self.inspector.close()
        for engine in self.engines:
            engine.close()
        shutil.rmtree(self.folder)

    @rule(
        queue=st.sampled_from(QUEUES),
        priority=st.integers(-2, 2),
        delay=st.none() | st.integers(-1000, 5000),
        kind=st.sampled_from(KINDS),
        key=st.sampled_from([None, "x", "y"]),
        expires=st.none() | st.integers(0, 9000),
        parents=st.lists(st.integers(0, 10**6), max_size=3),
        takes=st.sampled_from(Takes),
        count=st.integers(1, 3),
    )
    def enqueue(
        self,
        queue: str,
        priority: int,
        delay: int | None,
        kind: TaskPolicy,
        key: str | None,
        expires: int | None,
        parents: list[int],
        takes: Takes,
        count: int,
    ) -> None:
        now = self.clock.now()
        spec = JobSpec(
            task=kind.name,
            queue=queue,
            priority=priority,
            run_at=None if delay is None else now + delay,
            lane=kind.lane(key),
            expires_at=None if expires is None else now + expires,
            unique=key if priority == 2 else None,
            idempotency_key=key if priority == -2 else None,
            after=self._some(parents),
            takes=takes,
        )
        ids, twins = (engine.enqueue([spec] * count) for engine in self.engines)
        assert ids == twins
        self.states.update({id_: self.engines[0].fetch(id_).state for id_ in ids})

    @rule(worker=st.integers(0, WORKERS - 1), want=st.integers(0, 5), data=st.data())
    def exchange(self, worker: int, want: int, data: st.DataObject) -> None:
        mine = [pair for owner, pair in self.held if owner == worker]
        settled = data.draw(st.lists(st.sampled_from(mine), unique_by=id)) if mine else []
        how = [self._ending(data.draw(endings)) for _ in settled]
        results = []
        for side, engine in enumerate(self.engines):
            ended = [
                Ended(pair[side], ending, 1, 2) for pair, ending in zip(settled, how, strict=True)
            ]
            results.append(engine.exchange(self.seats[worker][side], ended, want))
        ours, twin = results
        assert ours.stale == twin.stale == ()
        assert ours.next_due_at == twin.next_due_at
        assert ours.claims == twin.claims
        assert ours.expired == twin.expired
        assert [end.claim.id for end in ours.cancelled] == [end.claim.id for end in twin.cancelled]
        assert {end.claim.id for end in ours.cancelled} == {
            pair[0].id
            for pair, ending in zip(settled, how, strict=True)
            if pair[0].id in self.doomed or isinstance(ending, Cancelled)
        }
        self.old += settled
        self.held = [(o, p) for o, p in self.held if not any(p is s for s in settled)]
        self.held += [(worker, pair) for pair in zip(ours.claims, twin.claims, strict=True)]

    @precondition(lambda self: self.old)
    @rule(data=st.data(), how=endings)
    def speak_too_late(self, data: st.DataObject, how: str) -> None:
        pair = data.draw(st.sampled_from(self.old))
        for side, engine in enumerate(self.engines):
            late = Ended(pair[side], self._ending(how))
            assert engine.exchange(self.seats[0][side], [late], 0).stale == (late,)

    @rule(queue=st.sampled_from(QUEUES), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        for engine in self.engines:
            engine.pause(queue, paused=paused)

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = self._some_jobs(data)
        answers, twins = (engine.cancel(ids, "why") for engine in self.engines)
        assert answers == twins
        assert [(answer.id, answer.was) for answer in answers] == [
            (id_, self.states.get(id_)) for id_ in ids
        ]
        self.doomed |= {answer.id for answer in answers if answer.done}
        for ours, twin in self.seats:
            assert self.engines[0].to_cancel(ours) == self.engines[1].to_cancel(twin)

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        ids = self._some_jobs(data)
        answers, twins = (engine.retry(ids) for engine in self.engines)
        assert answers == twins
        self.doomed -= {answer.id for answer in answers if answer.done}

    @rule(queue=st.none() | st.sampled_from(QUEUES))
    def purge(self, queue: str | None) -> None:
        count, twin = (engine.purge(queue, "why") for engine in self.engines)
        assert count == twin
        now = {id_: self.engines[1].fetch(id_) for id_ in self.states}  # type: ignore[arg-type]
        waited = {id_ for id_, before in self.states.items() if before in WAITING}
        gone = {id_ for id_ in waited if now[id_].state is JobState.CANCELLED}
        assert len(gone) == count
        assert gone >= {id_ for id_ in waited if queue in {None, now[id_].queue}}
        self.doomed |= gone

    @rule(ago=st.integers(0, 3000))
    def delete_old_jobs(self, ago: int) -> None:
        for engine in self.engines:
            while engine.expire(self.clock.now() - ago):
                continue
        for id_ in list(self.states):
            try:
                self.engines[1].fetch(JobId(id_))
            except UnknownJob:
                assert self.states.pop(id_).is_final
                self.doomed.discard(id_)
                with pytest.raises(UnknownJob):
                    self.engines[0].fetch(JobId(id_))

    @rule(seconds=st.one_of(st.integers(-2, 6), st.sampled_from([-90, -7, 30, 90, 400])))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(worker=st.integers(0, WORKERS - 1))
    def fire(self, worker: int) -> None:
        ours, twin = (
            engine.fire(seat) for engine, seat in zip(self.engines, self.seats[worker], strict=True)
        )
        assert ours == twin
        for tick in ours.ticks:
            assert (tick.task, tick.fire_at) not in self.fired
            assert tick.fire_at <= self.clock.now()
            self.fired.add((tick.task, tick.fire_at))
            self.states[tick.job] = JobState.QUEUED

    @rule(worker=st.integers(0, WORKERS - 1), data=st.data())
    def die_and_be_rescued(self, worker: int, data: st.DataObject) -> None:
        mine = [pair for owner, pair in self.held if owner == worker]
        running = (
            data.draw(st.lists(st.sampled_from(mine), unique_by=id, max_size=2)) if mine else []
        )
        rescuer = (worker + 1) % WORKERS
        rescued = []
        for side, engine in enumerate(self.engines):
            seat = self.seats[worker][side]
            board = Scoreboard(seat.board_fd)
            for slot, pair in enumerate(running):
                board.start(slot, int(pair[side].id), pair[side].number, 1)
            board.close()
            _kill(seat)
            found = engine.rescue(self.seats[rescuer][side])
            rescued.append(sorted((job.id, job.was_running, job.state) for job in found))
        assert rescued[0] == rescued[1]
        assert len(rescued[0]) == len(mine)
        self.old += mine
        self.held = [(owner, pair) for owner, pair in self.held if owner != worker]
        self.seats[worker] = self._join()

    @rule(worker=st.integers(0, WORKERS - 1))
    def leave(self, worker: int) -> None:
        for side, engine in enumerate(self.engines):
            engine.leave(self.seats[worker][side])
        self.old += [pair for owner, pair in self.held if owner == worker]
        self.held = [(owner, pair) for owner, pair in self.held if owner != worker]
        self.seats[worker] = self._join()

    @invariant()
    def same_jobs_and_allowed_moves(self) -> None:
        for id_, before in self.states.items():
            ours, twin = (engine.fetch(id_) for engine in self.engines)  # type: ignore[arg-type]
            assert ours == twin
            assert _reachable(before, ours.state), (before, ours.state)
            self.states[id_] = ours.state

    @invariant()
    def who_was_told_yes_is_or_will_be_cancelled(self) -> None:
        states = {self.states[id_] for id_ in self.doomed}
        assert states <= {JobState.RUNNING, JobState.CANCELLED}

    @invariant()
    def tallies_are_the_truth(self) -> None:
        counted: dict[tuple[str, JobState], int] = {}
        for id_ in self.states:
            job = self.engines[1].fetch(id_)  # type: ignore[arg-type]
            counted[job.queue, job.state] = counted.get((job.queue, job.state), 0) + 1
        stats = self.inspector.stats(self.clock.now())
        shown = {(q.name, state): n for q in stats.queues for state, n in q.states.items() if n}
        assert shown == counted

    def _some_jobs(self, data: st.DataObject) -> list[JobId]:
        known = st.sampled_from(sorted(self.states, key=int))
        found = data.draw(st.lists(known | st.just("99999"), max_size=4, unique=True))
        return [JobId(id_) for id_ in found]

    def _join(self) -> tuple[Membership, Membership]:
        self.names += 1
        profile = WorkerProfile(
            name=f"w{self.names}",
            host="h",
            pid=1,
            concurrency=2,
            rate_limit=4.0 if self.names % 4 == 3 else None,
            limits=(QueuePolicy(name="c", concurrency=2, rate_limit=1.0),),
        )
        tasks = [*KINDS, *VERSIONS[self.names % len(VERSIONS)]]
        ours, twin = (engine.join(profile, tasks) for engine in self.engines)
        return ours, twin

    def _some(self, picks: list[int]) -> tuple[JobId, ...]:
        """Some of the newest jobs."""
        known = list(self.states)[-6:]
        return tuple(JobId(known[pick % len(known)]) for pick in picks if known)

    def _ending(self, how: str) -> Ending:
        soon = self.clock.now() + 1_500
        made: dict[str, Ending] = {
            "succeeded": Succeeded("1"),
            "failed": Failed('{"type":"E"}'),
            "dead": Dead('{"type":"E"}'),
            "retry": Retrying('{"type":"E"}', soon),
            "crash": Retrying('{"type":"E"}', soon, crashed=True),
            "release": Released(),
            "cancel": Cancelled('{"type":"E"}'),
        }
        return made[how]


def _kill(seat: Membership) -> None:
    if isinstance(seat, SqliteSeat):
        seat.vanish()
    else:
        assert isinstance(seat, MemorySeat)
        seat.dead = True


def _reachable(before: JobState, after: JobState) -> bool:
    """Whether the table leads from one state to the other (one rule may do several moves)."""
    seen, frontier = {before}, [before]
    while frontier:
        for state in TRANSITIONS[frontier.pop()] - seen:
            seen.add(state)
            frontier.append(state)
    return after in seen


TwoEngines.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTwoEngines = TwoEngines.TestCase
