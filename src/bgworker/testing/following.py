# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""Jobs that come after others."""

from __future__ import annotations

import itertools

import pytest

from bgworker.clock import ManualClock
from bgworker.contracts import Engine
from bgworker.errors import UnknownJob
from bgworker.model import (
    PAYLOAD_CAP,
    Cancelled,
    Dead,
    Ended,
    Ending,
    Failed,
    JobId,
    JobSpec,
    Retrying,
    Succeeded,
    Takes,
)
from bgworker.states import JobState
from bgworker.testing.hooks import ERROR, EngineHooks, join

_NUMBERS = itertools.count()


def run(engine: Engine, *endings: Ending) -> list[JobId]:
    """Claim as many jobs as there are endings and end them so; their ids, in order."""
    seat = join(engine, f"runner-{next(_NUMBERS)}")
    claims = engine.exchange(seat, [], len(endings)).claims
    ended = [Ended(c, how, 1, 2) for c, how in zip(claims, endings, strict=False)]
    engine.exchange(seat, ended, 0)
    engine.leave(seat)
    return [claim.id for claim in claims]


class FollowingTests(EngineHooks):
    """A child waits for all its parents, and never runs when one of them did not succeed."""

    def test_a_child_waits_for_every_parent(self, engine: Engine) -> None:
        """Blocked until the last of them has succeeded, then next in line."""
        ids = engine.enqueue([*[JobSpec(task="p")] * 2, JobSpec(task="c", after=(0, 1))])
        done = Succeeded("1")
        assert engine.fetch(ids[2]).state is JobState.BLOCKED
        assert run(engine, done) == [ids[0]]
        assert engine.fetch(ids[2]).state is JobState.BLOCKED
        assert run(engine, done) == [ids[1]]

        assert engine.fetch(ids[2]).state is JobState.QUEUED
        assert run(engine, done) == [ids[2]]
        assert engine.fetch(ids[2]).state is JobState.SUCCEEDED

    def test_whoever_ends_the_parent_may_run_the_child_at_once(self, engine: Engine) -> None:
        """In the same transaction; the exchange says how many others could."""
        engine.enqueue([JobSpec(task="p")])
        seat = join(engine)
        (parent,) = engine.exchange(seat, [], 1).claims
        children = engine.enqueue([JobSpec(task="c", after=(parent.id,))] * 3)
        done = engine.exchange(seat, [Ended(parent, Succeeded("1"), 1, 2)], 1)

        assert [c.id for c in done.claims] == [children[0]]
        assert done.unblocked == 3

    def test_many_parents_that_end_together(self, engine: Engine) -> None:
        """Endings that come in one group count each."""
        parents = engine.enqueue([JobSpec(task="p")] * 9)
        (child,) = engine.enqueue([JobSpec(task="c", after=tuple(parents), takes=Takes.RESULTS)])
        run(engine, *(Succeeded(str(n)) for n in range(9)))

        assert engine.fetch(child).state is JobState.QUEUED
        assert engine.fetch(child).args == "[[[0,1,2,3,4,5,6,7,8]],{}]"

    def test_results_are_handed_on(self, engine: Engine) -> None:
        """As the first argument: one result, or the list of all in the order asked for."""
        ids = engine.enqueue(
            [
                JobSpec(task="a"),
                JobSpec(task="b"),
                JobSpec(task="one", args='[[7],{"k":1}]', after=(0,), takes=Takes.RESULT),
                JobSpec(task="all", after=(1, 0), takes=Takes.RESULTS),
                JobSpec(task="none", args="[[1],{}]", after=(0, 1)),
                JobSpec(task="alone", args="[[5],{}]", takes=Takes.RESULTS),
            ]
        )
        run(engine, Succeeded('"x"'), Succeeded("null"))

        args = [engine.fetch(id_).args for id_ in ids[2:]]
        assert args == ['[["x",7],{"k":1}]', '[[[null,"x"]],{}]', "[[1],{}]", "[[[],5],{}]"]

    def test_one_job_can_be_several_parents(self, engine: Engine) -> None:
        """Each place has its result: two parts of a group may mean one job by its key."""
        one = JobSpec(task="t", unique="k")
        last = JobSpec(task="t", after=(0, 1), takes=Takes.RESULTS)
        first, again, child = engine.enqueue([one, one, last])
        assert first == again
        seat = join(engine)
        (run,) = engine.exchange(seat, [], 9).claims
        (then,) = engine.exchange(seat, [Ended(run, Succeeded("7"))], 9).claims
        (late,) = engine.enqueue([JobSpec(task="t", after=(first, first), takes=Takes.RESULTS)])
        (after,) = engine.exchange(seat, [Ended(then, Succeeded("0"))], 9).claims

        assert (then.id, then.args) == (child, "[[[7,7]],{}]")
        assert (after.id, after.args) == (late, "[[[7,7]],{}]")

    @pytest.mark.parametrize("how", [Failed(ERROR), Dead(ERROR), Cancelled(ERROR)])
    def test_a_parent_that_did_not_succeed_cancels_all_below(
        self, engine: Engine, how: Ending
    ) -> None:
        """At once, down to the last, with the reason; others are left alone."""
        ids = engine.enqueue(
            [
                JobSpec(task="root"),
                JobSpec(task="other"),
                JobSpec(task="child", after=(0, 1)),
                JobSpec(task="grandchild", after=(2,)),
                JobSpec(task="twice", after=(2, 3)),
                JobSpec(task="free", after=(1,)),
            ]
        )
        run(engine, how, Succeeded("1"))
        states = [engine.fetch(id_).state for id_ in ids[2:]]
        reasons = [engine.fetch(id_).error or "" for id_ in ids[2:5]]

        assert states == [JobState.CANCELLED] * 3 + [JobState.QUEUED]
        assert all("ParentFailed" in reason for reason in reasons)
        assert f"job {ids[0]}" in reasons[0]
        assert f"job {ids[2]}" in reasons[1]

    def test_a_retry_is_no_ending(self, engine: Engine, clock: ManualClock) -> None:
        """The child waits on."""
        ids = engine.enqueue([JobSpec(task="p"), JobSpec(task="c", after=(0,))])
        run(engine, Retrying(ERROR, clock.now() + 1000))
        assert engine.fetch(ids[1]).state is JobState.BLOCKED
        clock.advance(1)
        run(engine, Succeeded("1"))

        assert engine.fetch(ids[1]).state is JobState.QUEUED

    def test_parents_that_have_ended_already(self, engine: Engine) -> None:
        """A success is nothing to wait for; anything else cancels at once."""
        good, bad = engine.enqueue([JobSpec(task="p")] * 2)
        run(engine, Succeeded("3"), Failed(ERROR))
        ids = engine.enqueue(
            [
                JobSpec(task="c", after=(good,), takes=Takes.RESULT),
                JobSpec(task="c", after=(good, bad)),
                JobSpec(task="c", after=(1,)),
            ]
        )
        jobs = [engine.fetch(id_) for id_ in ids]

        assert [job.state for job in jobs] == [JobState.QUEUED, *[JobState.CANCELLED] * 2]
        assert jobs[0].args == "[[3],{}]"

    def test_a_parent_nobody_knows_stores_nothing(self, engine: Engine) -> None:
        """Not even those that came before it in the call."""
        specs = [
            JobSpec(task="c", unique="u"),
            JobSpec(task="c", idempotency_key="i"),
            JobSpec(task="c", after=(JobId("999"),)),
        ]
        with pytest.raises(UnknownJob, match="999"):
            engine.enqueue(specs)

        assert engine.exchange(join(engine), [], 9).claims == ()
        assert len(set(engine.enqueue(specs[:2]))) == 2

    def test_a_child_keeps_its_own_delay(self, engine: Engine, clock: ManualClock) -> None:
        """It is not due earlier because its parents were quick."""
        at = clock.now() + 5000
        ids = engine.enqueue([JobSpec(task="p"), JobSpec(task="c", after=(0,), run_at=at)])
        run(engine, Succeeded("1"))
        assert engine.fetch(ids[1]).state is JobState.SCHEDULED
        clock.advance(5)

        assert run(engine, Succeeded("1")) == [ids[1]]

    def test_results_too_large_to_hand_on_cancel(self, engine: Engine) -> None:
        """A list of results has the same cap as any arguments."""
        big = Succeeded(f'"{"x" * (PAYLOAD_CAP // 2)}"')
        ids = engine.enqueue(
            [
                *[JobSpec(task="p")] * 3,
                JobSpec(task="c", after=(0, 1, 2), takes=Takes.RESULTS),
                JobSpec(task="d", after=(3,)),
            ]
        )
        run(engine, big, big, big)

        assert [engine.fetch(id_).state for id_ in ids[3:]] == [JobState.CANCELLED] * 2
        assert "PayloadTooLarge" in (engine.fetch(ids[3]).error or "")

    # When people cancel and retry

    def test_cancelling_a_parent_cancels_all_below(self, engine: Engine) -> None:
        """Those that were named have the reason that was given, the others say what they miss."""
        ids = engine.enqueue(
            [JobSpec(task="p"), JobSpec(task="c", after=(0,)), JobSpec(task="g", after=(1,))]
        )
        answers = engine.cancel([ids[1], ids[0]], "by me")
        errors = [engine.fetch(id_).error or "" for id_ in ids]

        assert [(a.was, a.done) for a in answers] == [
            (JobState.BLOCKED, True),
            (JobState.QUEUED, True),
        ]
        assert {engine.fetch(id_).state for id_ in ids} == {JobState.CANCELLED}
        assert ["by me" in error for error in errors] == [True, True, False]
        assert f"job {ids[1]}, which it comes after" in errors[2]

    def test_cancelling_a_running_parent_cancels_all_below(self, engine: Engine) -> None:
        """When its run is over, though it says that it succeeded."""
        parent, child = engine.enqueue([JobSpec(task="p"), JobSpec(task="c", after=(0,))])
        seat = join(engine)
        (claim,) = engine.exchange(seat, [], 9).claims
        engine.cancel([parent], "by me")
        assert engine.fetch(child).state is JobState.BLOCKED
        done = engine.exchange(seat, [Ended(claim, Succeeded("1"), 1, 2)], 9)

        assert done.claims == ()
        assert engine.fetch(child).state is JobState.CANCELLED

    def test_a_purge_counts_what_comes_after(self, engine: Engine) -> None:
        """In whatever queue: it can never run."""
        jobs = [JobSpec(task="p", queue="a"), JobSpec(task="c", queue="b", after=(0,))]
        ids = engine.enqueue([*jobs, JobSpec(task="o", queue="b")])

        assert engine.purge("a", "by me") == 2
        assert [engine.fetch(id_).state for id_ in ids[1:]] == [
            JobState.CANCELLED,
            JobState.QUEUED,
        ]

    def test_a_chain_is_retried_from_its_beginning(self, engine: Engine) -> None:
        """A child alone is refused; with or after its parents it waits for them again."""
        ids = engine.enqueue(
            [
                JobSpec(task="p"),
                JobSpec(task="q"),
                JobSpec(task="c", args="[[7],{}]", after=(0, 1), takes=Takes.RESULTS),
                JobSpec(task="g", after=(2,), takes=Takes.RESULT),
            ]
        )
        run(engine, Failed(ERROR), Succeeded("2"))
        assert [engine.fetch(id_).state.value for id_ in ids[2:]] == ["cancelled"] * 2
        before = engine.fetch(ids[2])
        refused = engine.retry([ids[2]])
        assert [(a.was, a.done) for a in refused] == [(JobState.CANCELLED, False)]
        assert engine.fetch(ids[2]) == before

        answers = engine.retry([ids[3], ids[2], ids[0]])
        assert [(a.id, a.done) for a in answers] == [
            (id_, True) for id_ in (ids[3], ids[2], ids[0])
        ]
        assert [engine.fetch(id_).state.value for id_ in (ids[0], *ids[2:])] == [
            *("queued", "blocked", "blocked")
        ]
        assert run(engine, Succeeded("1")) == [ids[0]]
        assert engine.fetch(ids[2]).args == "[[[1,2],7],{}]"
        assert run(engine, Succeeded('"x"')) == [ids[2]]
        assert engine.fetch(ids[3]).args == '[["x"],{}]'
        assert run(engine, Succeeded("1")) == [ids[3]]

    def test_a_child_is_retried_when_its_parents_have_succeeded(self, engine: Engine) -> None:
        """At once, with their results; and later once more, as any other job."""
        parent, child = engine.enqueue(
            [JobSpec(task="p"), JobSpec(task="c", after=(0,), takes=Takes.RESULT)]
        )
        engine.cancel([child], "by me")
        run(engine, Succeeded("5"))
        assert [answer.done for answer in engine.retry([child])] == [True]
        assert engine.fetch(child).args == "[[5],{}]"
        run(engine, Failed(ERROR))
        assert [answer.done for answer in engine.retry([child])] == [True]

        assert (engine.fetch(child).state, engine.fetch(child).args) == (
            JobState.QUEUED,
            "[[5],{}]",
        )
        assert engine.fetch(parent).state is JobState.SUCCEEDED
