"""Which source an action is for, and how it is named when somebody is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frames import INFO, T0, frame, source

from bgtop.actions import (
    Action,
    CancelJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    RetryJob,
    Verb,
)
from bgtop.model import (
    Failure,
    JobList,
    JobQuery,
    JobReading,
    JobState,
    QueueReading,
    Reading,
    Source,
)
from bgtop.state.targets import NoTarget, outcome_words, question, target_of

JOB = JobReading(id="1", state=JobState.FAILED, name="mail.send")


def at(
    name: str, *jobs: JobReading, queues: tuple[QueueReading, ...] = (), able: bool = True
) -> Source:
    answer = JobList(query=JobQuery(), rows=jobs)
    verbs = frozenset(Verb) if able else frozenset[Verb]()
    found = source(Reading(taken_at=T0, jobs=answer, queues=queues), name=name)
    return replace(found, info=replace(INFO, verbs=verbs))


def named(action: Action, *sources: Source) -> str:
    target = target_of(frame(*sources), action)
    return f"{target.source.name}: {target.words}"


def test_the_source_that_has_it() -> None:
    mail = QueueReading(name="mail", depth=12, failed=3, dead=1)

    assert named(RetryJob(id="1"), at("a"), at("b", JOB)) == "b: 1 (mail.send, failed)"
    assert named(PurgeQueue(queue="mail"), at("a"), at("b", queues=(mail,))) == (
        "b: queue mail with 12 waiting jobs"
    )
    assert named(PurgeQueue(queue="mail"), at("b", queues=(replace(mail, depth=1),))) == (
        "b: queue mail with 1 waiting job"
    )
    assert named(RequeueFailed(), at("a"), at("b", queues=(mail,))) == "b: 4 failed jobs"
    assert named(RequeueFailed(queue="mail"), at("a"), at("b", queues=(mail,))) == (
        "b: 4 failed jobs of queue mail"
    )
    assert named(RequeueFailed(task="t"), at("b", queues=(mail,))) == "b: failed jobs of task t"


def test_two_that_have_it_are_named_and_how_to_choose() -> None:
    with pytest.raises(NoTarget, match=r"several sources: a \(celery\), b \(celery\)") as raised:
        target_of(frame(at("a", JOB), at("b", JOB)), RetryJob(id="1"))

    assert raised.value.ambiguous
    assert "--source" in str(raised.value)


def test_what_nobody_sees_is_left_to_the_only_one_that_may_know() -> None:
    assert named(RetryJob(id="9"), at("a", able=False), at("b")) == "b: 9"
    with pytest.raises(NoTarget, match=r"^job 9 was not found$"):
        target_of(frame(at("a"), at("b")), RetryJob(id="9"))


def test_the_only_source_refuses_by_itself() -> None:
    assert not target_of(frame(at("a", JOB, able=False)), RetryJob(id="1")).able


def test_a_source_that_cannot_be_read_is_the_reason() -> None:
    down = replace(at("a"), failure=Failure(message="refused", since=T0))

    for action in (RetryJob(id="1"), PauseQueue(queue="q")):
        with pytest.raises(NoTarget, match=r"^refused$"):
            target_of(frame(down), action)


def test_the_question_names_object_count_and_source() -> None:
    jobs = [replace(JOB, id=str(number)) for number in range(8)]
    found = frame(at("h:6379/0", *jobs))
    targets = [target_of(found, CancelJob(id=job.id, terminate=True)) for job in jobs]

    assert question(found, targets[:1]) == (
        "cancel and stop what runs 0 (mail.send, failed) on h:6379/0 (celery)?"
    )
    words = question(found, targets)
    assert words.startswith("cancel and stop what runs 8 jobs: 0 (mail.send, failed), 1 (")
    assert words.endswith("and 3 more on h:6379/0 (celery)?")


@pytest.mark.parametrize(
    ("action", "changed", "words", "line"),
    [
        (RetryJob(id="1"), 1, "", "retried job 1"),
        (RetryJob(id="1"), None, "nobody answers", "retried job 1 (nobody answers)"),
        (RetryJob(id="1"), 0, "it was", "nothing changed: job 1 (it was)"),
        (PurgeQueue(queue="q"), 1, "", "purged 1 job: queue q"),
        (RequeueFailed(queue="q"), 7, "", "requeued 7 jobs: failed jobs of queue q"),
    ],
)
def test_what_was_done(action: Action, changed: int | None, words: str, line: str) -> None:
    target = target_of(frame(at("a", JOB)), action)

    assert outcome_words(target, changed, words) == line
