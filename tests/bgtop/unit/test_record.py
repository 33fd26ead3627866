"""Records: what is written of a value, and of what changed, gives the value again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from frames import ANY_READING, INFO, T0, looked_into, polled, queues, some_jobs
from hypothesis import given, settings
from recorded_hour import NOON, beginning, hour, shops

from bgtop import task_events
from bgtop.model import JobQuery, Reading, Snapshot, Source
from bgtop.state.coding import BadRecord, Coding
from bgtop.state.fold import PollFailed
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
from bgtop.state.record import AS_RECORDED, Reader, Scribe
from bgtop.state.resume import resumed

WORDS = {name: word for name, word in vars(task_events).items() if isinstance(word, type)}
CODER = Coding(WORDS).of(Reading)


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


@given(ANY_READING)
@settings(max_examples=60)
def test_any_reading_is_written_whole(reading: Reading) -> None:
    assert CODER.decode(through_json(CODER.encode(reading))) == reading


@given(ANY_READING, ANY_READING)
@settings(max_examples=60)
def test_any_difference_makes_the_one_of_the_other(old: Reading, new: Reading) -> None:
    assert CODER.patch(old, through_json(CODER.differ(old, new))) == new


def test_rows_of_one_name_rows_that_moved_and_what_was_not_known() -> None:
    [source] = looked_into().snapshot.sources
    assert source.reading is not None
    old = source.reading
    twins = (*old.queues[3:], *old.queues[:2], old.queues[0], old.queues[0])
    new = replace(old, queues=twins, workers=old.workers[1:], task_types=None, broker_version=None)

    assert CODER.patch(old, through_json(CODER.differ(old, new))) == new
    assert CODER.patch(new, through_json(CODER.differ(new, old))) == old


def test_what_stays_costs_nothing() -> None:
    [celery, *_] = shops()
    reading = celery.reading(NOON)
    changed = replace(reading.queues[4], depth=77_777)
    new = replace(reading, queues=(*reading.queues[:4], changed, *reading.queues[5:]))

    assert len(json.dumps(CODER.encode(reading))) > 4000
    assert len(json.dumps(CODER.differ(reading, new))) < 50


def known_after(seconds: int) -> Knowledge:
    known = Knowledge(snapshot=beginning(*shops()[::2]))
    for _, sample in hour(seconds=seconds):
        known = learn(known, sample, Selection())
    return known


def test_fields_of_a_newer_version_are_passed_over_and_missing_ones_are_not_known() -> None:
    keyframe = through_json(Scribe().keyframe(known_after(300), 5.0))
    names = keyframe["fields"]["QueueReading"]
    place = names.index("paused")
    for source in keyframe["sources"]:
        for row in source[3][1] if source[3] else ():
            row[place] = "a word of the future"
    names[place] = "mood"

    reader = Reader(keyframe)
    [celery, _] = reader.known.snapshot.sources
    assert celery.reading is not None
    assert {queue.paused for queue in celery.reading.queues} == {None}
    assert [queue.depth for queue in celery.reading.queues] == [
        queue.depth
        for queue in known_after(300).snapshot.sources[0].reading.queues  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda keyframe: keyframe.pop("history"),
        lambda keyframe: keyframe.update(taken_at="noon"),
        lambda keyframe: keyframe["sources"][0].pop(),
        lambda keyframe: keyframe["history"]["shop:6379"][0].__setitem__(1, 99),
    ],
)
def test_what_is_no_keyframe_is_said_to_be_none(spoil: Any) -> None:
    keyframe = through_json(Scribe().keyframe(known_after(60), 5.0))
    spoil(keyframe)

    with pytest.raises(BadRecord):
        Reader(keyframe)


@pytest.mark.parametrize("data", [None, [], ["p"], ["x", 1], ["f", 9, 1, "", None, 1], {"p": 1}])
def test_what_is_no_sample_is_said_to_be_none(data: Any) -> None:
    reader = Reader(through_json(Scribe().keyframe(known_after(60), 5.0)))

    with pytest.raises(BadRecord):
        reader.sample(data, reader.known.snapshot)


def test_secrets_are_not_written_even_where_a_backend_tells_them() -> None:
    careless = replace(INFO, url="redis://:hunter2@h/0")
    [jobs] = looked_into(jobs=some_jobs(JobQuery())).snapshot.sources
    assert jobs.reading is not None
    reading = replace(jobs.reading, warnings=("cannot read amqp://u:hunter2@h/v",))
    source = Source(name="a", info=careless)
    known = Knowledge(snapshot=Snapshot(taken_at=T0, sources=(source,)))
    scribe = Scribe()
    texts = [json.dumps(scribe.keyframe(known, 5.0))]
    for sample in (
        replace(polled(reading), info=careless),
        PollFailed(source="a", at=T0, message="no answer from redis://:hunter2@h/0"),
    ):
        known = learn(known, sample, Selection())
        texts.append(json.dumps(scribe.sample(sample, known.snapshot)))
    texts.append(json.dumps(scribe.keyframe(known, 5.0)))

    assert reading.jobs is not None
    assert len(reading.jobs.rows) > 1
    assert "hunter2" not in "".join(texts)
    assert "mail" in "".join(texts)
    assert reading.jobs.rows[0].id not in "".join(texts)


def test_a_live_view_begins_with_what_the_last_one_remembered() -> None:
    before = known_after(900)
    newest = before.history.points["shop:6379"][-1]
    fresh = Knowledge(snapshot=beginning(shops()[0]))
    taken_at = before.snapshot.sources[0].reading.taken_at  # type: ignore[union-attr]

    wall = taken_at.replace(hour=12, minute=20)
    known = resumed(fresh, before, wall, clock=77.0, longest=3600)

    age = (wall - taken_at).total_seconds()
    points = known.history.points["shop:6379"]
    assert points[-1].clock == pytest.approx(77.0 - age, abs=0.5)
    assert points[-1].depths == newest.depths
    assert known.trends.of("shop:6379", "queue.03", "depth")[:-1] == (
        before.trends.of("shop:6379", "queue.03", "depth")
    )
    assert known.trends.of("shop:6379", "queue.03", "depth")[-1] is None
    assert "edge" not in known.history.points
    again = learn(
        known, replace(polled(queues("queue.03"), clock=78.0), source="shop:6379"), AS_RECORDED
    )
    assert again.trends.change("depth") is None
    assert len(again.trends.of("shop:6379", "queue.03", "depth")) > 40


def test_what_was_remembered_too_long_ago_or_in_the_future_is_forgotten() -> None:
    before = known_after(300)
    fresh = Knowledge(snapshot=beginning(shops()[0]))

    for wall in (NOON.replace(hour=14), NOON.replace(hour=11)):
        assert resumed(fresh, before, wall, clock=77.0, longest=3600) == fresh
