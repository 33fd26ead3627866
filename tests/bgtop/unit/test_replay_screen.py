"""The screen of a recording: its keys, and that its clock is the recording's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from frames import usual_frame
from recorded_hour import NOON, beginning, hour, shops

from bgtop.config import Config
from bgtop.contracts import Size
from bgtop.model import Alert
from bgtop.page import Page
from bgtop.playback import Playback
from bgtop.recording import Recorder
from bgtop.replaying import Hindsight, ReplaySession, alerts_at
from bgtop.session import frame_of
from bgtop.state.alerts import Memory, Rules, alerts_of
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
from bgtop.state.thresholds import Limit, Measure
from bgtop.view.keys import reduce
from bgtop.view.layout import layout
from bgtop.view.pages import page_of
from bgtop.view.ui import Replay, Seek, Ui

SIZE = Size(100, 30)
UI = Ui(
    size=SIZE,
    replay=Replay(at=NOON + timedelta(seconds=61), begin=NOON, end=NOON + timedelta(hours=1)),
)


@pytest.mark.parametrize(
    ("key", "seconds"),
    [
        *(("left", -10), ("right", 10), ("[", -60), ("]", 60)),
        *(("home", float("-inf")), ("end", float("inf"))),
    ],
)
def test_keys_that_seek(key: str, seconds: float) -> None:
    assert reduce(UI, key, usual_frame()) == (UI, (Seek(seconds),))
    _, effects = reduce(replace(UI, replay=None), key, usual_frame())
    assert effects == ()


def test_speeds_have_ends() -> None:
    ui, speeds = UI, []
    for key in [*"++-", *"-" * 20, *"+" * 20]:
        ui, effects = reduce(ui, key, usual_frame())
        assert effects == ()
        speeds.append(ui.replay.speed)  # type: ignore[union-attr]

    assert speeds[:3] == [2.0, 5.0, 2.0]
    assert (min(speeds), speeds[-1]) == (0.1, 600.0)


@pytest.mark.parametrize("key", [*"RCKDQPSA"])
def test_nothing_can_be_done_to_a_recording(key: str) -> None:
    ui, effects = reduce(UI, key, usual_frame())

    assert effects == ()
    assert ui.asking is None
    assert ui.notice is not None
    assert "nothing can be done to it" in ui.notice.text


def test_while_a_filter_is_typed_its_keys_are_letters() -> None:
    ui, _ = reduce(UI, "/", usual_frame())
    ui, effects = reduce(ui, "[", usual_frame())

    assert (effects, ui.editing and ui.editing.text) == ((), "[")


def test_the_banner_says_when_how_fast_and_how_far() -> None:
    def banner(ui: Ui) -> str:
        found = page_of(usual_frame(), ui, NOON).banner
        return f"{found.tag} {found.text}" if found else ""

    assert banner(UI).startswith("REPLAY 2026-11-21 12:01:01 UTC ×1  ·")
    assert banner(UI).endswith("61s of 1h00m")
    assert " paused, p goes on " in banner(replace(UI, paused=True))
    assert "REPLAY" not in banner(replace(UI, replay=None))


class Paper:
    """A renderer that presses its keys one by one, a picture after each."""

    def __init__(self, *keys: str) -> None:
        self.size = SIZE
        self.keys: list[str | None] = [key for pair in keys for key in (pair, None)]
        self.pages: list[Page] = []

    def draw(self, page: Page, /) -> None:
        self.pages.append(page)

    def next_key(self, _timeout: float, /) -> str | None:
        return self.keys.pop(0) if self.keys else "q"

    def wake(self) -> None:
        raise AssertionError("nobody else has news")

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The banner tells the time of this machine's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[tuple[datetime, Any]]]:
    """Five minutes, with what was known at each sample."""
    path = str(tmp_path_factory.mktemp("recorded") / "x.bgtop")
    return path, recording(path, 300)


def recording(path: str, seconds: int) -> list[tuple[datetime, Any]]:
    """So much of the hour in a file; what was known at each sample."""
    known = Knowledge(snapshot=beginning(*shops()[::2]))
    live = [(NOON, known)]
    with closing(Recorder(path, most=5_000_000)) as recorder:
        recorder.begin(known, NOON, 5.0)
        for at, sample in hour(seconds=seconds):
            known = learn(known, sample, Selection())
            recorder.hear(sample, known, at)
            live.append((at, known))
    return live


def test_the_screen_shows_each_moment_as_it_was(recorded: Any) -> None:
    path, live = recorded
    keys = ["p", "]", "right", "]", "left", "[", "end", "home", "]", "]", "right"]
    paper = Paper(*keys)
    with closing(Playback(path)) as playback:
        ReplaySession(
            playback, paper, Config(), at=NOON, speed=0.1, report=lambda _text: None
        ).run()

    moments = [moment_of(page) for page in paper.pages]
    steps = [(then - now).total_seconds() for now, then in pairwise(moments)]
    # The clock went on for a moment before it was stopped, slowly.
    assert [step for step in steps if abs(step) > 1] == pytest.approx(
        [60, 10, 60, -10, -60, 235, -295, 60, 60, 10], abs=1
    )
    for page, moment in zip(paper.pages, moments, strict=True):
        assert page.totals in totals_at(live, moment)
        assert len(layout(page, SIZE).lines) == SIZE.rows
    # Or one more, if a sample came in that moment.
    assert len({page.totals for page in paper.pages}) in {6, 7}


def test_what_rules_would_have_told_is_shown_at_each_moment(
    recorded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the live view would have told it, however far the jumps; nobody is rung for it."""
    path, live = recorded
    rung = tmp_path / "rung"
    limit = Limit(measure=Measure.DEPTH, value=20, queue=None)
    rules = Rules(limits=(limit,), worker_gone=True, command=("touch", str(rung)))
    config = Config(alerts=rules)
    paper = Paper("p", *["]"] * 4, "home", *["right"] * 9)
    monkeypatch.setattr(Paper, "beep", lambda _: pytest.fail("it rang"), raising=False)
    with closing(Playback(path)) as playback:
        ReplaySession(playback, paper, config, at=NOON, speed=0.1, report=pytest.fail).run()

    shown = {moment_of(page): alert_of(page) for page in paper.pages}
    assert {*shown.values()} - {None}
    assert len({*shown.values()}) > 2
    for moment, words in shown.items():
        assert words in told_at(live, moment, rules)
    assert not rung.exists()


@pytest.fixture(scope="module")
def half_an_hour(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Any]]:
    """With several keyframes, between which there is more to be heard."""
    path = str(tmp_path_factory.mktemp("recorded") / "long.bgtop")
    return path, recording(path, 1800)


LIMIT = Limit(measure=Measure.DEPTH, value=20, queue=None)
RULES = Rules(limits=(LIMIT,), worker_gone=True)


def followed(live: list[Any], moment: datetime) -> tuple[Alert, ...]:
    """What the live view told, which heard everything."""
    told: tuple[Alert, ...] = ()
    memory = Memory()
    for at, known in live:
        if at <= moment:
            told, memory = alerts_of(RULES, frame_of(known, Config()), memory, at.timestamp())
    return told


@pytest.mark.parametrize("seconds", [0, 61, 599, 1203, 1790])
def test_what_rules_would_have_told_at_one_moment(half_an_hour: Any, seconds: int) -> None:
    """Also those about workers that are gone, which follow from the minutes before."""
    path, live = half_an_hour
    moment = NOON + timedelta(seconds=seconds)

    with closing(Playback(path)) as playback:
        told = alerts_at(playback, moment, Config(alerts=RULES))

    assert told == followed(live, moment)
    if seconds > 600:
        assert {alert.rule for alert in told} == {"depth", "worker_gone"}


@pytest.mark.parametrize("jump", [400, 1700])
def test_a_jump_ahead_misses_nothing(half_an_hour: Any, jump: int) -> None:
    path, live = half_an_hour
    hindsight = Hindsight(Config(alerts=RULES))
    with closing(Playback(path)) as playback:
        for seconds in (50, 50 + jump, 1790):
            moment = NOON + timedelta(seconds=seconds)
            assert hindsight.follow(playback, moment) == followed(live, moment)


def alert_of(page: Page) -> str | None:
    return next((status.text for status in page.statuses if status.tag == "ALERT"), None)


def told_at(live: Any, moment: datetime, rules: Rules) -> list[str | None]:
    """What the live view told at the beginning of this second and within it."""
    told, memory = [(NOON, None)], Memory()
    for at, known in live:
        seen = frame_of(known, Config())
        alerts, memory = alerts_of(rules, seen, memory, at.timestamp())
        frame = replace(seen, alerts=alerts)
        told.append((at, alert_of(page_of(frame, UI, at))))
    before = [words for at, words in told if at <= moment][-1:]
    return [*before, *(w for at, w in told if moment < at <= moment + timedelta(seconds=1))]


def moment_of(page: Page) -> datetime:
    """The time in the banner."""
    assert page.banner is not None
    return datetime.fromisoformat(" ".join(page.banner.text.split()[:2])).replace(
        tzinfo=NOON.tzinfo
    )


def totals_at(live: Any, moment: datetime) -> list[Any]:
    """The first line of all pictures the live view showed within this second."""
    before = [known for at, known in live if at <= moment][-1:]
    during = [known for at, known in live if moment < at <= moment + timedelta(seconds=1)]
    ui = Ui(size=SIZE, interval=5.0)
    return [
        page_of(frame_of(known, Config(), trends=True), ui, moment).totals
        for known in (*before, *during)
    ]


def test_while_it_plays_its_clock_runs_at_its_speed(
    recorded: Any, wait_until: Callable[..., Any]
) -> None:
    path, _ = recorded
    paper = Paper()
    paper.keys = None  # type: ignore[assignment]
    over = threading.Event()
    paper.next_key = lambda timeout: "q" if over.wait(timeout) else None  # type: ignore[method-assign]

    def play() -> None:
        with closing(Playback(path)) as playback:
            ReplaySession(
                playback, paper, Config(), at=NOON, speed=600.0, report=lambda _text: None
            ).run()

    thread = threading.Thread(target=play)
    thread.start()
    wait_until(lambda: paper.pages and "the end" in paper.pages[-1].banner.text)  # type: ignore[union-attr]
    over.set()
    thread.join(10)

    times = [page.banner.text.split()[1] for page in paper.pages if page.banner]
    assert times == sorted(times)
    assert times[-1] == "12:04:55"
