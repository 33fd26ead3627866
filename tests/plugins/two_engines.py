"""Two engines that do the same, step for step, and every step is in the table of transitions.

A state machine for Hypothesis. Thousands of examples are affordable because the file is in memory
and begins as a copy of an empty queue, and because all is compared with all only every few steps:
the states of all jobs are looked at after each.
"""

from __future__ import annotations

import functools
import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from repeated import EXAMPLES, REPEATED

from bgworker import cron, every
from bgworker.clock import ManualClock
from bgworker.contracts import Engine, Membership
from bgworker.engines.memory import MemoryEngine, MemorySeat
from bgworker.engines.sqlite import SqliteEngine, reserve
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
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
COMPARE_EVERY = 12
"""Steps between two comparisons of everything; there is one at the end in any case."""
LEAPS = (-90, -7, 30, 90, 400)
"""Seconds by which the clock goes on, or back, at once."""
RESERVE = 64 * 1024
"""Bytes set aside for a full disk: to allocate megabytes would be a quarter of a short example."""
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
# Every draw costs as much as a statement of SQL, so each argument is drawn at once.
picks = st.integers(0, 5)
"""Which of several; more than there are begins again with the first."""
T = TypeVar("T")


def often(usual: T, unusual: Sequence[T]) -> st.SearchStrategy[T]:
    """The usual value three times out of four: a queue of oddities alone would hardly move."""
    return st.sampled_from([*[usual] * (3 * len(unusual)), *unusual])


def few(values: Sequence[T], least: int, most: int) -> st.SearchStrategy[list[T]]:
    """From ``least`` to ``most`` of these, in any order and more than once."""
    base = len(values)
    lengths = most - least + 1

    def spell(number: int) -> list[T]:
        number, more = divmod(number, lengths)
        return [values[number // base**place % base] for place in range(least + more)]

    return st.integers(0, lengths * base**most - 1).map(spell)


some = few(range(41), 0, 4)
FAMILIES = [list(of) for n in range(4) for of in itertools.product(range(6), repeat=n)]
"""Up to three of the newest jobs, by number."""
ENDINGS = ("succeeded", "failed", "dead", "retry", "crash", "release", "cancel")


class TwoEngines(RuleBasedStateMachine):
    """Every rule is done to both engines; a claim is kept as the pair of what both gave."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(dir=IN_MEMORY)
        self.clock = ManualClock()
        self.path = str(Path(self.folder) / "jobs.db")
        Path(self.path).write_bytes(_empty_queue())
        Path(f"{self.path}.d").mkdir()  # as beside any queue that is not new
        self.engines: tuple[Engine, Engine] = (self._open(), MemoryEngine(clock=self.clock))
        self.inspector = Inspector(self.path)
        self.db = self.inspector._connection()
        self.steps = 0
        self.names = 0
        self.seats = [self._join() for _ in range(WORKERS)]
        self.held: list[tuple[int, tuple[Claim, Claim]]] = []
        self.old: list[tuple[Claim, Claim]] = []
        self.states: dict[str, JobState] = {}
        self.doomed: set[str] = set()
        self.fired: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        try:
            if self.steps % COMPARE_EVERY:
                self.compare()
            assert self.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        finally:
            self.inspector.close()
            for engine in self.engines:
                engine.close()
            shutil.rmtree(self.folder)

    @rule(
        queue=st.sampled_from(QUEUES),
        priority=st.integers(-2, 2),
        delay=often(None, range(-1000, 5001)),
        kind=st.sampled_from(KINDS),
        key=st.sampled_from([None, "x", "y"]),
        expires=often(None, range(9001)),
        parents=often([], FAMILIES),
        takes=st.sampled_from(Takes),
        count=st.sampled_from([4, 1, 2]),
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

    @initialize(kinds=few(KINDS, len(QUEUES), 5))
    def begin_with_some_jobs(self, kinds: list[TaskPolicy]) -> None:
        for n, kind in enumerate(kinds):
            spec = JobSpec(task=kind.name, queue=QUEUES[n % len(QUEUES)], lane=kind.lane(None))
            ids, twins = (engine.enqueue([spec] * 3) for engine in self.engines)
            assert ids == twins
            self.states.update(dict.fromkeys(ids, JobState.QUEUED))

    @rule(worker=st.integers(0, WORKERS - 1), want=st.sampled_from([3, 5, 1]))
    def claim(self, worker: int, want: int) -> None:
        self._exchange(worker, [], [], want)

    @precondition(lambda self: self.held)
    @rule(
        first=picks,
        how=few(ENDINGS, 1, 6),
        want=st.sampled_from([2, 0, 5]),
    )
    def exchange(self, first: int, how: list[str], want: int) -> None:
        worker, _ = self.held[first % len(self.held)]
        mine = [pair for owner, pair in self.held if owner == worker][: len(how)]
        self._exchange(worker, mine, [self._ending(kind) for kind in how[: len(mine)]], want)

    def _exchange(
        self, worker: int, settled: list[tuple[Claim, Claim]], how: list[Ending], want: int
    ) -> None:
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
    @rule(pick=picks, how=st.sampled_from(ENDINGS))
    def speak_too_late(self, pick: int, how: str) -> None:
        pair = self.old[pick % len(self.old)]
        for side, engine in enumerate(self.engines):
            late = Ended(pair[side], self._ending(how))
            assert engine.exchange(self.seats[0][side], [late], 0).stale == (late,)

    @precondition(lambda self: self.steps % 3 == 0)
    @rule(queue=st.sampled_from(QUEUES), paused=st.sampled_from([False, True]))
    def pause(self, queue: str, paused: bool) -> None:
        for engine in self.engines:
            engine.pause(queue, paused=paused)

    @precondition(lambda self: self.states)
    @rule(jobs=some)
    def cancel(self, jobs: list[int]) -> None:
        ids = self._some_jobs(jobs)
        answers, twins = (engine.cancel(ids, "why") for engine in self.engines)
        assert answers == twins
        assert [(answer.id, answer.was) for answer in answers] == [
            (id_, self.states.get(id_)) for id_ in ids
        ]
        self.doomed |= {answer.id for answer in answers if answer.done}
        for ours, twin in self.seats:
            assert self.engines[0].to_cancel(ours) == self.engines[1].to_cancel(twin)

    @precondition(lambda self: self.states)
    @rule(jobs=some)
    def retry(self, jobs: list[int]) -> None:
        ids = self._some_jobs(jobs)
        answers, twins = (engine.retry(ids) for engine in self.engines)
        assert answers == twins
        self.doomed -= {answer.id for answer in answers if answer.done}

    @precondition(lambda self: self.steps % 4 == 0)
    @rule(queue=st.sampled_from([*QUEUES, None]))
    def purge(self, queue: str | None) -> None:
        count, twin = (engine.purge(queue, "why") for engine in self.engines)
        assert count == twin
        now = {id_: self.engines[1].fetch(id_) for id_ in self.states}  # type: ignore[arg-type]
        waited = {id_ for id_, before in self.states.items() if before in WAITING}
        gone = {id_ for id_ in waited if now[id_].state is JobState.CANCELLED}
        assert len(gone) == count
        assert gone >= {id_ for id_ in waited if queue in {None, now[id_].queue}}
        self.doomed |= gone

    @precondition(lambda self: any(state.is_final for state in self.states.values()))
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

    @rule(seconds=st.sampled_from([*range(-2, 7), *LEAPS, *LEAPS]))
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

    @precondition(lambda self: self.held)
    @rule(first=picks, running=st.integers(0, 2))
    def die_and_be_rescued(self, first: int, running: int) -> None:
        worker, _ = self.held[first % len(self.held)]
        mine = [pair for owner, pair in self.held if owner == worker]
        rescuer = (worker + 1) % WORKERS
        rescued = []
        for side, engine in enumerate(self.engines):
            seat = self.seats[worker][side]
            board = Scoreboard(seat.board_fd)
            for slot, pair in enumerate(mine[-running:] if running else ()):
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

    @precondition(lambda self: self.held)
    @rule(first=picks)
    def leave(self, first: int) -> None:
        worker, _ = self.held[first % len(self.held)]
        for side, engine in enumerate(self.engines):
            engine.leave(self.seats[worker][side])
        self.old += [pair for owner, pair in self.held if owner == worker]
        self.held = [(owner, pair) for owner, pair in self.held if owner != worker]
        self.seats[worker] = self._join()

    @precondition(lambda self: len(self.held) >= 3)
    @rule()
    def everybody_dies(self) -> None:
        """The machine goes down: who opens the file again finds all the jobs of the dead."""
        for ours, twin in self.seats:
            _kill(ours)
            _kill(twin)
        self.engines[0].close()
        self.engines = (self._open(), self.engines[1])
        self.old += [pair for _, pair in self.held]
        held, self.held = len(self.held), []
        self.seats = [self._join() for _ in self.seats]
        ours, twin = (
            sorted((job.id, job.was_running, job.state) for job in engine.rescue(seat))
            for engine, seat in zip(self.engines, self.seats[0], strict=True)
        )
        assert ours == twin
        assert len(ours) == held

    @invariant()
    def all_is_well(self) -> None:
        """One invariant for all: Hypothesis takes more time for each than what they look at."""
        self.moves_are_in_the_table()
        self.who_was_told_yes_is_or_will_be_cancelled()
        self.steps += 1
        if self.steps % COMPARE_EVERY == 0:
            self.compare()

    def moves_are_in_the_table(self) -> None:
        for number, state in self.db.execute(
            "SELECT id, state FROM bgworker_job UNION ALL SELECT id, state FROM bgworker_history"
        ):
            before, after = self.states[str(number)], JobState(state)
            assert after is before or _reachable(before, after), (before, after)
            self.states[str(number)] = after

    def who_was_told_yes_is_or_will_be_cancelled(self) -> None:
        states = {self.states[id_] for id_ in self.doomed}
        assert states <= {JobState.RUNNING, JobState.CANCELLED}

    def compare(self) -> None:
        """All jobs in both engines, and the tallies with what they count."""
        counted: dict[tuple[str, JobState], int] = {}
        for id_ in self.states:
            ours, twin = (engine.fetch(JobId(id_)) for engine in self.engines)
            assert ours == twin
            counted[ours.queue, ours.state] = counted.get((ours.queue, ours.state), 0) + 1
        stats = self.inspector.stats(self.clock.now())
        shown = {(q.name, state): n for q in stats.queues for state, n in q.states.items() if n}
        assert shown == counted

    def _open(self) -> SqliteEngine:
        return SqliteEngine(self.path, clock=self.clock, durable=False)

    def _some_jobs(self, numbers: list[int]) -> list[JobId]:
        """Jobs that are there, most of them; the highest numbers belong to none."""
        return list(dict.fromkeys(JobId(str(n % (len(self.states) + 3) + 1)) for n in numbers))

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


@functools.cache
def _empty_queue() -> bytes:
    """The file of a queue without jobs: to make its tables takes longer than an example may."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        engine = SqliteEngine(f"{folder}/jobs.db", clock=ManualClock(), durable=False)
        engine.pause("a", paused=False)
        engine.close()
        return Path(folder, "jobs.db").read_bytes()


def _kill(seat: Membership) -> None:
    if isinstance(seat, SqliteSeat):
        seat.vanish()
    else:
        assert isinstance(seat, MemorySeat)
        seat.dead = True


@functools.cache
def _reachable(before: JobState, after: JobState) -> bool:
    """Whether the table leads from one state to the other (one rule may do several moves)."""
    seen, frontier = {before}, [before]
    while frontier:
        for state in TRANSITIONS[frontier.pop()] - seen:
            seen.add(state)
            frontier.append(state)
    return after in seen


def check(examples: int, steps: int) -> None:
    """Find a run of so many steps at most in which the engines differ, or break a rule."""
    gc.collect()
    gc.freeze()  # all that was imported need not be looked through again and again
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", IN_MEMORY)
        patch.setattr(reserve, "_LEAST", RESERVE)
        patch.setattr(reserve, "_MOST", RESERVE)
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            TwoEngines,
            settings=settings(
                max_examples=EXAMPLES if REPEATED else examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    gc.unfreeze()
