"""The loop: what it draws, and how rarely."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from frames import INFO, T0, queues

import bgtop.session as session_module
from bgtop.actions import Action, Outcome, PauseQueue, Performed, PurgeQueue, Verb
from bgtop.config import Config
from bgtop.contracts import Interest, Interrupted, NoSuchTarget, Size, Unreachable
from bgtop.model import BackendInfo, Frame, Reading
from bgtop.oneshot import Wanted, take_frame
from bgtop.page import Page
from bgtop.sampler import Feed, Found, Sampler
from bgtop.session import Session
from bgtop.state.knowledge import Knowledge
from bgtop.state.steps import Steps
from bgtop.view.ui import Ui

WaitUntil = Callable[..., object]


class Paper:
    """A renderer that keeps its pages; keys are put into it."""

    def __init__(self) -> None:
        self.pages: list[tuple[float, Page]] = []
        self.keys: list[str | BaseException] = []
        self.size = Size(100, 30)
        self.closed = 0
        self.copied: list[str] = []
        self.line_is_slow = threading.Event()
        self._bell = threading.Event()

    def draw(self, page: Page, /) -> None:
        self.pages.append((time.monotonic(), page))
        if self.line_is_slow.is_set():
            threading.Event().wait(0.4)

    def next_key(self, timeout: float, /) -> str | None:
        if not self.keys:
            self._bell.wait(timeout)
        self._bell.clear()
        if not self.keys:
            return None
        key = self.keys.pop(0)
        if isinstance(key, BaseException):
            raise key
        return key

    def press(self, *keys: str | BaseException) -> None:
        self.keys += keys
        self.wake()

    def wake(self) -> None:
        self._bell.set()

    def copy(self, text: str, /) -> None:
        self.copied.append(text)

    def close(self) -> None:
        self.closed += 1


class Constant:
    """A backend that always sees the same, or always fails; it can do whatever it is told."""

    def __init__(self, answer: Reading | Exception) -> None:
        self.answer = answer
        self.closed = False
        self.asked = Interest()
        self.done: list[Action] = []

    @property
    def info(self) -> BackendInfo:
        return replace(INFO, verbs=frozenset(Verb))

    def perform(self, action: Action, /) -> Outcome:
        self.done.append(action)
        if isinstance(action, PauseQueue):
            raise NoSuchTarget("it is paused already")
        return Outcome(3, "they may take a while")

    def poll(self, interest: Interest, /) -> Reading:
        self.asked = interest
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.closed = True


class Running:
    """A session in a thread of its own."""

    def __init__(
        self, *backends: Constant, interval: float = 60.0, feeds: Sequence[Feed] = ()
    ) -> None:
        self.paper = Paper()
        self.backends = backends
        self.outcome: BaseException | str | None = None
        feeds = feeds or [Feed(name=f"s{n}", backend=b) for n, b in enumerate(backends)]
        config = replace(Config(), refresh_interval=interval)
        self.audited: list[Performed] = []
        self.session = Session(
            feeds, self.paper, config, report=lambda text: None, audit=self.audited.append
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.session.run()
            self.outcome = "quit"
        except BaseException as fault:  # noqa: BLE001 - the outcome is what is tested
            self.outcome = fault

    @property
    def page(self) -> Page:
        return self.paper.pages[-1][1]

    def names(self) -> list[str]:
        if not self.paper.pages:
            return []
        return [row.cells[0].text for row in self.page.tables[0].rows]


@pytest.fixture
def running() -> Any:
    sessions: list[Running] = []

    def start(*backends: Constant, **more: Any) -> Running:
        sessions.append(Running(*backends, **more))
        return sessions[-1]

    yield start
    for session in sessions:
        session.paper.press("esc", "esc", "1", "q")
        session.thread.join(5)
        assert not session.thread.is_alive()


def test_the_first_page_is_there_before_any_data(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail")))
    wait_until(lambda: session.paper.pages)

    assert session.paper.pages[0][1].tables[0].rows == ()


def test_data_is_drawn_as_it_comes(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail", "push")))

    wait_until(lambda: session.names() == ["mail", "push"])


def test_keys_are_drawn_at_once(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail", "push")))
    wait_until(lambda: session.names() == ["mail", "push"])
    pages = len(session.paper.pages)
    pressed = time.monotonic()

    session.paper.press("j")

    wait_until(lambda: session.page.tables[0].selected == 1)
    assert session.paper.pages[pages][0] - pressed < 0.3


def test_keys_that_come_together_are_drawn_once(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues(*[f"q{n}" for n in range(99)])))
    wait_until(lambda: len(session.names()) > 1)
    pages = len(session.paper.pages)

    session.paper.press(*["j"] * 50)

    wait_until(lambda: session.page.tables[0].selected == 50)
    assert len(session.paper.pages) - pages <= 3


def test_a_resize_is_laid_out_anew(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues(*[f"q{n}" for n in range(99)])))
    wait_until(lambda: len(session.names()) > 10)

    session.paper.size = Size(100, 12)
    session.paper.press("resize")

    wait_until(lambda: len(session.names()) < 10)


def test_without_news_the_screen_is_drawn_once_a_second(
    running: Any, wait_until: WaitUntil
) -> None:
    session = running(Constant(queues("mail")))
    wait_until(lambda: session.names() == ["mail"])
    pages = len(session.paper.pages)

    wait_until(lambda: len(session.paper.pages) >= pages + 2)

    times = [at for at, _ in session.paper.pages[pages - 1 :]]
    assert all(0.9 < b - a < 1.6 for a, b in pairwise(times))


def test_news_that_comes_faster_is_drawn_together(running: Any, wait_until: WaitUntil) -> None:
    session = running(*[Constant(queues(f"q{n}")) for n in range(10)], interval=0.1)
    wait_until(lambda: len(session.names()) == 10)
    pages = len(session.paper.pages)
    began = session.paper.pages[-1][0]

    wait_until(lambda: session.paper.pages[-1][0] - began > 1)

    # A hundred readings in this second.
    assert len(session.paper.pages) - pages <= 12


def test_a_source_that_is_down_is_told_in_words(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail")), interval=0.1)
    wait_until(lambda: session.names() == ["mail"])

    session.backends[0].answer = Unreachable("connection refused by h:6379")
    wait_until(lambda: session.page.statuses[0].tag == "DOWN")

    assert re.match(
        r"connection refused by h:6379 · data \w+ old · retry in 1s", session.page.statuses[0].text
    )
    assert session.names() == ["mail"], "the last reading stays"
    assert all(row.stale for row in session.page.tables[0].rows)

    session.backends[0].answer = queues("mail", "push")
    wait_until(lambda: session.page.statuses[0].tag == "OK")
    assert session.names() == ["mail", "push"]
    assert not any(row.stale for row in session.page.tables[0].rows)


def test_quitting_gives_everything_back(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail")))

    session.paper.press("q", "j")

    wait_until(lambda: session.outcome)
    assert session.outcome == "quit"
    assert session.paper.closed
    assert session.backends[0].closed


@pytest.mark.parametrize("fault", [Interrupted(15), KeyboardInterrupt(), RuntimeError("x")])
def test_any_other_end_gives_everything_back_too(
    fault: BaseException, running: Any, wait_until: WaitUntil
) -> None:
    session = running(Constant(queues("mail")))

    session.paper.press(fault)

    wait_until(lambda: session.outcome)
    assert session.outcome is fault
    assert session.paper.closed
    assert session.backends[0].closed


def test_what_is_fetched_follows_from_the_page(running: Any, wait_until: WaitUntil) -> None:
    backend = Constant(queues("mail", "push"))
    session = running(backend)
    wait_until(lambda: session.names() == ["mail", "push"])
    assert backend.asked == Interest()

    session.paper.press("j", "enter")
    wait_until(lambda: backend.asked.jobs is not None)
    assert backend.asked.jobs is not None
    assert backend.asked.jobs.queue == "push"

    session.paper.press("2")
    wait_until(lambda: backend.asked == Interest(task_types=True, events=True))

    session.paper.press("1")
    wait_until(lambda: backend.asked == Interest())


def test_an_action_is_done_audited_and_its_outcome_told(
    running: Any, wait_until: WaitUntil
) -> None:
    backend = Constant(queues("mail"))
    session = running(backend)
    wait_until(lambda: session.names() == ["mail"])

    session.paper.press("P", "y")

    wait_until(lambda: session.page.statuses[0].tag == "DONE")
    assert session.page.statuses[0].text == "purge mail: 3 changed · they may take a while"
    assert backend.done == [PurgeQueue(queue="mail")]
    [performed] = session.audited
    assert (performed.source, performed.action) == ("s0", PurgeQueue(queue="mail"))

    session.paper.press("j")
    wait_until(lambda: session.page.statuses[0].tag == "OK")


def test_what_several_actions_came_to_is_one_line(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("a", "b", "c")))
    wait_until(lambda: session.names() == ["a", "b", "c"])

    session.paper.press("*", "P", "y")

    wait_until(lambda: session.page.statuses[0].text == "purge 3 of 3: 9 changed")
    assert session.page.tables[0].note == "1/3", "what is done is no longer marked"

    session.paper.press("*", "S", "y")
    wait_until(
        lambda: (
            session.page.statuses[0].text
            == "pause 3 of 3 · 3 failed, such as pause a: it is paused already"
        )
    )
    assert len(session.audited) == 6


def test_an_action_that_fails_says_why(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail")))
    wait_until(lambda: session.names() == ["mail"])

    session.paper.press("S", "y")

    wait_until(lambda: session.page.statuses[0].tag == "FAILED")
    assert session.page.statuses[0].text == "pause mail: it is paused already"
    assert [performed.fault for performed in session.audited] == ["it is paused already"]


def test_a_paused_picture_stands_still_while_polls_go_on(
    running: Any, wait_until: WaitUntil
) -> None:
    backend = Constant(queues("mail"))
    session = running(backend, interval=0.05)
    wait_until(lambda: session.names() == ["mail"])
    session.paper.press("p")
    wait_until(lambda: session.page.banner is not None)
    ages = {status.text for status in session.page.statuses}

    backend.answer = queues("mail", "push")
    pages = len(session.paper.pages)
    wait_until(lambda: len(session.paper.pages) > pages + 2)
    assert session.names() == ["mail"]
    assert {status.text for status in session.page.statuses} == ages, "ages stand still as well"

    session.paper.press("p")
    wait_until(lambda: session.names() == ["mail", "push"])
    assert session.page.banner is None


def test_the_interval_changes_for_all_sources(running: Any, wait_until: WaitUntil) -> None:
    slow = [Constant(queues("mail")), Constant(queues("push"))]
    session = running(*slow, interval=60.0)
    wait_until(lambda: len(session.names()) == 2)
    session.paper.press(*["-"] * 8)
    wait_until(lambda: session.page.corner == "every 0.1s")

    for backend in slow:
        backend.answer = queues("other")

    wait_until(lambda: session.names() == ["other", "other"])


def test_all_sources_are_read_when_somebody_asks_also_one_that_was_left_alone(
    running: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgtop.sampler.back_off", lambda _attempts, _chance: 3600.0)
    down, well = Constant(Unreachable("connection refused")), Constant(queues("mail"))
    session = running(down, well, interval=60.0)
    wait_until(lambda: session.names() == ["mail"])
    wait_until(lambda: session.page.statuses[0].tag == "DOWN")
    down.answer, well.answer = queues("push"), queues("other")

    session.paper.press("ctrl+r")

    wait_until(lambda: session.names() == ["push", "other"])


def test_a_terminal_that_keeps_us_waiting_is_told(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail")))
    wait_until(lambda: session.names() == ["mail"])
    assert "SLOW" not in [status.tag for status in session.page.statuses]

    session.paper.line_is_slow.set()

    wait_until(lambda: "SLOW" in [status.tag for status in session.page.statuses])
    session.paper.line_is_slow.clear()
    wait_until(lambda: "SLOW" not in [status.tag for status in session.page.statuses])


def test_a_name_is_given_to_the_renderer_to_copy(running: Any, wait_until: WaitUntil) -> None:
    session = running(Constant(queues("mail")))
    wait_until(lambda: session.names() == ["mail"])

    session.paper.press("y")

    wait_until(lambda: session.paper.copied == ["mail"])


class Hanging(Constant):
    """A backend that answers when it is closed."""

    def __init__(self) -> None:
        super().__init__(Unreachable("closed"))
        self.asked = threading.Event()
        self._over = threading.Event()

    def poll(self, interest: Interest, /) -> Reading:
        self.asked.set()
        self._over.wait(20)
        return super().poll(interest)

    def close(self) -> None:
        super().close()
        self._over.set()


def search(*backends: Constant | None) -> Feed:
    """A source that finds these at its first poll; ``None`` cannot be opened."""
    found = [
        Found(lambda n=n, b=b: None if b is None else Feed(name="h", id=f"h\0{n}", backend=b))
        for n, b in enumerate(backends)
    ]

    def newly_found() -> list[Found]:
        new = found[:]
        found.clear()
        return new

    looking = Constant(Reading(taken_at=T0))
    return Feed(name="h", backend=looking, newly_found=newly_found)


def test_what_a_source_finds_joins_it(running: Any, wait_until: WaitUntil) -> None:
    later = Constant(queues("push"))
    session = running(feeds=[search(Constant(queues("mail")), None, later)])

    wait_until(lambda: session.names() == ["mail", "push"])
    session.paper.press("q")
    wait_until(lambda: session.outcome)

    assert later.closed


def test_one_of_a_place_that_hangs_holds_up_no_other(running: Any, wait_until: WaitUntil) -> None:
    hanging, good = Hanging(), Constant(queues("mail"))
    session = running(feeds=[search(hanging, good)], interval=0.05)
    wait_until(lambda: hanging.asked.is_set() and session.names() == ["mail"])

    good.answer = queues("mail", "push")

    wait_until(lambda: session.names() == ["mail", "push"])
    assert "WAIT" in [status.tag for status in session.page.statuses]


def test_one_reading_is_of_what_was_found_too() -> None:
    good, bad = Constant(queues("mail")), Constant(Unreachable("refused"))

    frame = take_frame([search(good, bad, None)], Config(), Wanted(), report=pytest.fail)

    first, second = [source for source in frame.snapshot.sources if source.id]
    assert first.reading == queues("mail")
    assert second.failure is not None


def test_readings_do_not_pile_up_while_a_picture_is_not_taken(
    running: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind Ctrl-S, or on a line that hangs, for hours; what follows is the latest reading."""
    backend, polls, draw = Constant(queues("mail")), 0, Paper.draw
    goes_on = threading.Event()

    def drawn(paper: Paper, page: Page, /) -> None:
        draw(paper, page)
        goes_on.wait(20)

    def poll(interest: Interest) -> Reading:
        nonlocal polls
        polls += 1
        return queues(f"poll-{polls}")

    monkeypatch.setattr(Paper, "draw", drawn)
    monkeypatch.setattr(backend, "poll", poll)
    session = running(backend, interval=0.1)
    wait_until(lambda: polls >= 10, why="it is polled meanwhile")
    assert len(session.session._inbox) == 1
    goes_on.set()
    wait_until(lambda: len(session.paper.pages) > 1 and session.names(), why="a page with data")

    first = next(page for _, page in session.paper.pages if page.tables[0].rows)
    assert int(first.tables[0].rows[0].cells[0].text.removeprefix("poll-")) >= 10


def test_a_key_waits_for_a_step_and_not_for_all_that_is_learned(
    running: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    may_begin = threading.Event()
    draw, learning = Paper.draw, session_module.learning

    def drawn(paper: Paper, page: Page, /) -> None:
        draw(paper, page)
        happened.append("drawn")
        may_begin.wait(20)

    def learned(*given: Any) -> Steps[Knowledge]:
        if "begun" not in happened:
            session.paper.press("?")
        happened.append("begun")
        known = yield from learning(*given)
        happened.append("learned")
        return known

    monkeypatch.setattr(session_module, "_STRIDE", 0)  # as if each step took long
    monkeypatch.setattr(Paper, "draw", drawn)
    monkeypatch.setattr(session_module, "learning", learned)
    session = running(*[Constant(Reading(taken_at=T0)) for _ in range(4)])
    wait_until(lambda: len(session.session._inbox) == 4)
    may_begin.set()
    wait_until(lambda: happened.count("learned") == 4)

    assert happened[:5] == ["drawn", "begun", "drawn", "learned", "begun"]


def test_a_key_is_answered_on_the_last_picture_until_the_next_is_there(
    running: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Frame] = []
    may_begin = threading.Event()
    preparing = session_module.preparing

    def prepared(frame: Frame, ui: Ui) -> Steps[None]:
        may_begin.wait(20)
        for number, _ in enumerate(preparing(frame, ui)):
            if number == 0:
                session.paper.press("?")
            looks.append(session.session._frame)
            yield

    monkeypatch.setattr(session_module, "_STRIDE", 0)  # as if each step took long
    monkeypatch.setattr(session_module, "preparing", prepared)
    session = running(Constant(queues("one", "two")))
    may_begin.set()
    wait_until(lambda: len(session.paper.pages) > 2)

    [_, helped, shown, *_] = [page for _, page in session.paper.pages]
    assert len(looks) > 1
    assert not any(look.snapshot.sources[0].reading for look in looks)
    assert helped.overlay is not None
    assert helped.tables[0].total == 0
    assert shown.tables[0].total == 2


def test_a_key_is_answered_before_what_it_asks_for_is_fetched(
    running: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    draw, look = Paper.draw, Sampler.look

    def drawn(paper: Paper, page: Page, /) -> None:
        draw(paper, page)
        happened.append(next(tab.name for tab in page.tabs if tab.active))

    def looked(sampler: Sampler, interest: Interest, *, at_once: bool = True) -> None:
        if interest.checkup:
            happened.append("asked")
        look(sampler, interest, at_once=at_once)

    monkeypatch.setattr(Paper, "draw", drawn)
    monkeypatch.setattr(Sampler, "look", looked)
    session = running(Constant(queues("one")))
    session.paper.press("6")
    wait_until(lambda: "asked" in happened)

    assert happened[happened.index("asked") - 1] == "Findings"
