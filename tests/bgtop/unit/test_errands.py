"""What workers are told, in words, and which source it is for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frames import INFO, T0, frame, source

from bgtop.actions import WORKER_VERBS, Action, Performed, Verb
from bgtop.audit import action_record
from bgtop.model import (
    JobList,
    JobQuery,
    JobReading,
    JobState,
    QueueReading,
    Reading,
    Source,
    WorkerReading,
)
from bgtop.state.targets import NoTarget, outcome_words, question, target_of
from bgtop.view.outcomes import outcome_of
from bgtop.worker_actions import (
    AbortJob,
    AddConsumer,
    Autoscale,
    CancelConsumer,
    GrowPool,
    RestartPool,
    SendTask,
    SetRateLimit,
    SetTimeLimits,
    ShrinkPool,
    ShutdownWorker,
    SuspendWorkers,
    WakeWorkers,
)

WORDS: tuple[tuple[Action, str], ...] = (
    (SuspendWorkers(), "let all workers rest"),
    (WakeWorkers(), "let all workers work again"),
    (ShutdownWorker(worker="w"), "shut down worker w"),
    (RestartPool(worker="w"), "restart the pool of worker w"),
    (GrowPool(worker="w", by=2), "grow the pool of worker w by 2"),
    (ShrinkPool(worker="w"), "shrink the pool of worker w by 1"),
    (Autoscale(worker="w", least=1, most=3), "autoscale worker w between 1 and 3"),
    (AddConsumer(worker="w", queue="mail"), "add queue mail to worker w"),
    (CancelConsumer(worker="w", queue="mail"), "drop queue mail from worker w"),
    (SetRateLimit(task="t{0}", rate="1/m"), "limit the rate of task t{0} to 1/m at all workers"),
    (SetRateLimit(task="t", rate="0", worker="w"), "limit the rate of task t to 0 at worker w"),
    (
        SetTimeLimits(task="t", soft=1.5, hard=2, worker="w"),
        "limit the time of task t to 1.5 s soft and 2 s hard at worker w",
    ),
    (SetTimeLimits(task="t"), "limit the time of task t to none at all workers"),
    (SendTask(task="t"), "send task t"),
    (SendTask(task="t", queue="mail"), "send task t to queue mail"),
    (AbortJob(id="1"), "abort job 1"),
)


def at(name: str, worker: str = "", queue: str = "", job: str = "", able: bool = True) -> Source:
    rows = (JobReading(id=job, state=JobState.RUNNING),) if job else ()
    reading = Reading(
        taken_at=T0,
        workers=(WorkerReading(name=worker),) if worker else (),
        queues=(QueueReading(name=queue, depth=1),) if queue else (),
        jobs=JobList(query=JobQuery(), rows=rows),
    )
    verbs = frozenset(Verb) if able else frozenset[Verb]()
    return replace(source(reading, name=name), info=replace(INFO, verbs=verbs))


@pytest.mark.parametrize(("action", "words"), WORDS)
def test_each_is_said_in_words(action: Action, words: str) -> None:
    target = target_of(frame(at("a", "w", "mail", "1")), action)

    assert target.words == words
    assert question(frame(at("a")), [target]) == f"{words} on a (celery)?"
    assert outcome_words(target, 1, "as you say") == f"{words}: as you say"
    assert outcome_words(target, None, "") == f"{words}: done"


def test_all_of_them_are_said() -> None:
    assert {action.verb for action, _ in WORDS} == WORKER_VERBS


@pytest.mark.parametrize(
    "action",
    [GrowPool(worker="w"), SendTask(task="t", queue="mail"), AbortJob(id="1")],
)
def test_it_is_for_the_source_that_has_its_object(action: Action) -> None:
    sources = at("a"), at("b", "w", "mail", "1"), at("c", "v", "push", "2")

    assert target_of(frame(*sources), action).source.name == "b"
    with pytest.raises(NoTarget, match="could be in several sources"):
        target_of(frame(*sources, at("d", "w", "mail", "1")), action)


def test_what_is_for_all_workers_is_for_the_only_source_that_can() -> None:
    action = SetRateLimit(task="t", rate="1/s")

    assert target_of(frame(at("a", able=False), at("b")), action).source.name == "b"
    assert not target_of(frame(at("a", able=False)), action).able
    with pytest.raises(NoTarget, match="could be in several sources"):
        target_of(frame(at("a"), at("b")), action)
    with pytest.raises(NoTarget, match="no source to limit the rate of task t"):
        target_of(frame(), action)


def test_what_is_written_down_has_no_secrets() -> None:
    action = SendTask(task="t", args='["a"]', kwargs='{"password": "hush", "to": "ann"}')

    assert action_record(action) == {
        "verb": "send",
        "task": "t",
        "args": '["a"]',
        "kwargs": '{"password": "***", "to": "ann"}',
    }


def test_a_fault_is_told_with_its_object() -> None:
    told = outcome_of(Performed(source="a", action=GrowPool(worker="w"), fault="no"))

    assert told.text == "grow w: no"
