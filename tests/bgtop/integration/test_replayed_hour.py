"""Replay shows what the live view showed, frame by frame, from wherever it is begun."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from frames import looked_into, some_jobs
from recorded_hour import NOON, beginning, hour, same, shops

from bgtop.config import Config
from bgtop.contracts import Size
from bgtop.model import JobQuery
from bgtop.playback import Playback
from bgtop.recording import Recorder
from bgtop.session import frame_of
from bgtop.state.intake import Selection, name_filter
from bgtop.state.knowledge import Knowledge, learn
from bgtop.view.layout import layout
from bgtop.view.pages import FIRST_PAGES, page_of
from bgtop.view.ui import Ui, Visit

SELECTION = Selection(queues=name_filter("!queue.13"))
CONFIG = Config(max_queues=18)
PAGES = (
    *(Visit(page=name) for name in FIRST_PAGES),
    Visit(page="queue", subject=("shop:6379", "queue.03")),
    Visit(page="worker", subject=("shop:6379", "w@h2")),
)


@dataclass(frozen=True)
class Shown:
    """A picture of the live view: what came last, and what was drawn."""

    at: datetime
    visit: Visit
    lines: tuple[object, ...]


def drawn(known: Knowledge, visit: Visit, at: datetime) -> tuple[object, ...]:
    """The screen, in letters and styles."""
    ui = Ui(size=Size(120, 40), interval=5.0, stack=(visit,))
    page = page_of(frame_of(known, CONFIG, trends=True), ui, at)
    return layout(page, Size(120, 40)).lines


class Hour:
    """A recorded hour, with every picture that the live view showed of it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.shown: list[Shown] = []
        celery, _, huey = shops()
        known = Knowledge(snapshot=beginning(celery, huey))
        recorder = Recorder(self.path, most=20_000_000)
        recorder.begin(known, NOON, 5.0)
        for number, (at, sample) in enumerate(hour()):
            known = learn(known, sample, SELECTION)
            recorder.hear(sample, known, at)
            if number % 40 == 0:
                recorder.commit()
            visit = PAGES[number % len(PAGES)] if number % 3 else PAGES[0]
            self.shown.append(Shown(at, visit, drawn(known, visit, at)))
        recorder.close()
        self.known = known

    def __iter__(self) -> Iterator[Shown]:
        return iter(self.shown)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Hour:
    return Hour(tmp_path_factory.mktemp("hour") / "hour.bgtop")


def test_the_hour_is_worth_looking_at(recorded: Hour) -> None:
    pictures = "".join(
        [getattr(span, "text", "") for shown in recorded for line in shown.lines for span in line]  # type: ignore[attr-defined]
    )

    assert len(recorded.shown) > 1200
    assert {word for word in ("DOWN", "▇", "rq", "edge", "WARN") if word in pictures} == {
        *("DOWN", "▇", "rq", "edge", "WARN")
    }
    assert recorded.known.rates
    assert "queue.13" not in pictures


def test_played_from_its_beginning_each_frame_is_what_the_live_view_showed(recorded: Hour) -> None:
    playback = Playback(recorded.path)
    different = [
        (number, shown.at)
        for number, shown in enumerate(recorded)
        if drawn(playback.seek(shown.at), shown.visit, shown.at) != shown.lines
    ]
    playback.close()

    assert different == []


def test_sought_to_and_fro_each_frame_is_the_same(recorded: Hour) -> None:
    chance = random.Random(1)
    playback = Playback(recorded.path)
    for shown in chance.sample(recorded.shown, 60):
        assert drawn(playback.seek(shown.at), shown.visit, shown.at) == shown.lines, shown.at
    playback.close()


def test_at_the_end_is_known_what_was_known_live(recorded: Hour) -> None:
    playback = Playback(recorded.path)
    found = playback.seek(playback.end)
    live = recorded.known
    playback.close()

    assert same(found, live)
    assert playback.interval == 5.0


def test_an_instant_between_two_samples_shows_the_one_before(recorded: Hour) -> None:
    playback = Playback(recorded.path)
    shown = recorded.shown[500]
    later = shown.at + (recorded.shown[501].at - shown.at) / 2

    assert drawn(playback.seek(later), shown.visit, shown.at) == shown.lines
    assert playback.seek(NOON - timedelta(days=1)).snapshot == beginning(*shops()[::2])
    playback.close()


def test_single_jobs_are_not_recorded(tmp_path: Path) -> None:
    frame = looked_into(jobs=some_jobs(JobQuery()))
    [source] = frame.snapshot.sources
    assert source.reading is not None
    assert source.reading.jobs is not None
    known = Knowledge(snapshot=replace(frame.snapshot, sources=(source,)))
    path = str(tmp_path / "jobs.bgtop")
    recorder = Recorder(path, most=2_000_000)
    recorder.begin(known, NOON)
    recorder.close()
    playback = Playback(path)
    [read] = playback.known.snapshot.sources
    playback.close()

    assert read == replace(source, reading=replace(source.reading, jobs=None))
