"""Several systems at one place: which sources are shown, and that they never mix."""

from __future__ import annotations

from dataclasses import replace

from frames import INFO, T0

from bgtop.config import Config
from bgtop.model import BackendInfo, QueueReading, Reading, Snapshot, Source
from bgtop.session import frame_of
from bgtop.state.fold import Joined, Polled, PollFailed, Sample, fold
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
from bgtop.state.places import titles_of
from bgtop.view.document import document_of
from bgtop.view.keys import reduce
from bgtop.view.pages import page_of
from bgtop.view.statuses import statuses_of
from bgtop.view.ui import Ui

SEARCH = BackendInfo(system=None, broker="redis", url="redis://h:6379/0")
EMPTY = Knowledge(
    snapshot=Snapshot(
        taken_at=T0, sources=(Source(name="h", info=SEARCH), Source(name="other", info=INFO))
    )
)


def info(system: str) -> BackendInfo:
    return replace(INFO, system=system)


def joined(system: str) -> Joined:
    return Joined(source=f"h\0{system}", name="h", info=info(system))


def polled(key: str, reading: Reading, clock: float = 0.0) -> Polled:
    system = key.partition("\0")[2] or None
    return Polled(
        source=key,
        info=replace(INFO, system=system),
        reading=reading,
        clock=clock,
        poll_seconds=0.001,
    )


def default(depth: int, entered: int | None = None) -> Reading:
    queue = QueueReading(name="default", depth=depth, entered_total=entered, left_total=entered)
    return Reading(taken_at=T0, queues=(queue,))


def known(*samples: Sample) -> Knowledge:
    knowledge = EMPTY
    for sample in samples:
        knowledge = learn(knowledge, sample, Selection())
    return knowledge


def test_what_is_found_stands_beside_its_place_in_order() -> None:
    sources = known(joined("rq"), joined("celery"), joined("huey")).snapshot.sources

    assert [(source.name, source.info.system) for source in sources] == [
        *(("h", None), ("h", "celery"), ("h", "huey"), ("h", "rq"), ("other", "celery"))
    ]


def test_a_search_is_a_source_until_something_is_found() -> None:
    warned = Reading(taken_at=T0, warnings=("looking: 5 keys read",), complete=False)
    alone = frame_of(known(polled("h", warned)), Config())
    accompanied = frame_of(known(polled("h", warned), joined("rq")), Config())

    assert [source.info.system for source in alone.snapshot.sources] == [None, "celery"]
    assert document_of(alone)["sources"][0]["system"] is None
    assert [source.info.system for source in accompanied.snapshot.sources] == ["rq", "celery"]
    assert document_of(accompanied)["sources"][0]["warnings"] == ["looking: 5 keys read"]
    for frame in (alone, accompanied):
        assert "h: looking: 5 keys read" in [status.text for status in statuses_of(frame, T0)]


def test_a_search_that_fails_is_told_once() -> None:
    fault = {"at": T0, "message": "connection refused"}
    alone = known(joined("rq"), polled("h\0rq", default(1)), PollFailed(source="h", **fault))
    together = learn(alone, PollFailed(source="h\0rq", **fault), Selection())

    texts = [status.text for status in statuses_of(frame_of(alone, Config()), T0)]
    assert "h: no further systems are looked for: connection refused" in texts
    texts = [status.text for status in statuses_of(frame_of(together, Config()), T0)]
    assert len([text for text in texts if "connection refused" in text]) == 1


def test_messages_name_the_system_where_a_place_is_shared() -> None:
    sources = known(joined("rq"), joined("huey")).snapshot.sources[1:]

    assert titles_of(sources) == {"h\0huey": "h huey", "h\0rq": "h rq", "other": "other"}
    assert titles_of(sources[1:]) == {"h\0rq": "h", "other": "other"}


def test_queues_of_one_name_do_not_mix() -> None:
    """Neither numbers, nor rates, nor what is selected."""
    knowledge = known(
        *(joined(system) for system in ("huey", "rq")),
        *(polled("h\0huey", default(3, 100)), polled("h\0rq", default(7, 500))),
        *(polled("h\0huey", default(4, 110), 10.0), polled("h\0rq", default(8, 400), 10.0)),
    )
    frame = frame_of(knowledge, Config())

    records = document_of(frame)["queues"]
    assert [(r["source"], r["system"], r["depth"], r["in_per_second"]) for r in records] == [
        ("h", "huey", 4, 1.0),
        ("h", "rq", 8, None),  # its counter went back; that of the other did not
    ]
    rows = page_of(frame, Ui(), T0).tables[0].rows
    assert [row.id for row in rows] == [("h\0huey", "default"), ("h\0rq", "default")]
    ui, _ = reduce(Ui(), "j", frame)
    assert ui.pane("queues").selected == ("h\0rq", "default")


def test_the_system_is_a_column_when_there_are_several() -> None:
    frame = frame_of(known(joined("huey"), polled("h\0huey", default(1))), Config())

    [queues, workers] = page_of(frame, Ui(), T0).tables

    for table in (queues, workers):
        assert [column.key for column in table.columns][:3] == ["name", "source", "system"]
    assert [cell.text for cell in queues.rows[0].cells][:3] == ["default", "h", "huey"]


def test_a_sample_of_an_unknown_source_changes_nothing() -> None:
    sample = polled("nobody", default(1))

    assert fold(EMPTY.snapshot, sample).sources == EMPTY.snapshot.sources
