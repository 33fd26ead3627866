"""Tests beside each other, ``--testers N``: read once, then run by processes forked from it all.

Reading this many tests takes longer than running most files of them, and programs that start anew
would each do it. A tester is handed one file after the other, so what the tests of a file share is
made once: every other tester from the end of the run. What is alike stands together in it, and what
waits for brokers leaves the processors to what computes. A tester that dies costs the test it died
in.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import re
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Final

import pytest

Group = list[int]
"""Numbers of tests, by their places in the run."""

_FORK: Final = multiprocessing.get_context("fork")
_LOOK: Final = 1.0
"""Seconds until a tester is noticed whose end of the link lives on in a program that it started."""
_CLEAN_UP: Final = 60.0
"""Seconds that the fixtures of an interrupted tester have to stop what they started."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--testers", type=int, default=0, help="processes to test in; 0: this one, no other"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Runs all tests; where there is nothing to divide, pytest's own loop is left to it."""
    testers = session.config.getoption("testers")
    if not testers or session.testsfailed or session.config.option.collectonly:
        return None
    run = _Run(session, groups(session.items))
    try:
        run.work(testers)
    finally:
        run.close()
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    return True


def groups(items: list[pytest.Item]) -> list[Group]:
    """What stays on one tester: a file's tests; those of RabbitMQ are two groups, a node each."""
    on_rabbit = {item.path for item in items if _needs_node(item)}
    found: dict[str, Group] = {}
    for number, item in enumerate(items):
        name = str(item.path)
        if item.path in on_rabbit:
            in_name = {"celery", "rabbit"} <= set(re.split(r"[_.]", item.path.name))
            name = "rabbit of celery" if in_name else "rabbit"
        found.setdefault(name, []).append(number)
    return list(found.values())


def _needs_node(item: pytest.Item) -> bool:
    """The name of the file says so, or a parameter does, or a fixture that the test asks for."""
    named = "rabbit" in item.path.name or re.search(r"[\[-]rabbit[\]-]", item.name) is not None
    asked = "rabbit_node" in getattr(item, "fixturenames", ())
    return (named or asked) and "unit" not in item.path.parts


@dataclass(slots=True)
class _Tester:
    """As the reader knows it: ``left`` are the tests it was handed and has not ended."""

    process: ForkProcess
    link: Connection
    is_handed_the_last: bool
    left: Group = field(default_factory=list)
    has_hung_up: bool = False

    @property
    def is_gone(self) -> bool:
        """It hung up; or it is dead, and all it had said is read."""
        return self.has_hung_up or not (self.process.is_alive() or self.link.poll())


class _Run:
    """The reader's side: hands out groups, passes reports on, replaces who died."""

    def __init__(self, session: pytest.Session, waiting: list[Group]) -> None:
        self._session = session
        self._waiting = deque(waiting)
        self._testers: dict[Connection, _Tester] = {}
        self._started = 0

    def work(self, testers: int) -> None:
        """Until each test has ended, or the run is to stop."""
        for _ in range(min(testers, len(self._waiting))):
            self._start()
        while self._testers:
            for link in wait(list(self._testers), timeout=_LOOK):
                assert isinstance(link, Connection)
                self._take(self._testers[link])
            for tester in [other for other in self._testers.values() if other.is_gone]:
                self._bury(tester)

    def close(self) -> None:
        """Ends testers that still work, as those of an interrupted run; their fixtures clean up."""
        for tester in self._testers.values():
            if tester.process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(tester.process.pid, signal.SIGINT)
        for tester in self._testers.values():
            tester.process.join(_CLEAN_UP)
            tester.process.kill()

    def _start(self) -> None:
        ours, theirs = _FORK.Pipe()
        others = [ours, *self._testers]
        process = _FORK.Process(target=_test, args=(self._session, theirs, others, self._started))
        process.start()
        theirs.close()
        self._testers[ours] = _Tester(process, ours, is_handed_the_last=self._started % 2 == 1)
        self._started += 1

    def _take(self, tester: _Tester) -> None:
        try:
            what, told = tester.link.recv()
        except (EOFError, ConnectionResetError):
            tester.has_hung_up = True
            return
        if what == "more":
            self._hand(tester)
        elif what == "ended":
            tester.left.remove(told)
        else:
            hook = self._session.config.hook
            report = hook.pytest_report_from_serializable(config=self._session.config, data=told)
            hook.pytest_runtest_logreport(report=report)

    def _hand(self, tester: _Tester) -> None:
        is_over = self._session.shouldfail or self._session.shouldstop
        take = self._waiting.pop if tester.is_handed_the_last else self._waiting.popleft
        group = take() if self._waiting and not is_over else None
        try:
            tester.link.send(group)
        except (BrokenPipeError, ConnectionResetError):  # it died after it had asked
            tester.has_hung_up = True
            self._waiting.extendleft([group] if group else ())
        else:
            tester.left += group or ()

    def _bury(self, tester: _Tester) -> None:
        """What a tester died in has failed; what it had not begun goes to another one."""
        del self._testers[tester.link]
        tester.link.close()
        tester.process.join()
        if not tester.left:
            if tester.process.exitcode:
                words = f"a tester ended with {tester.process.exitcode} behind its last test"
                self._session.shouldfail = words
            return
        item = self._session.items[tester.left[0]]
        self._session.config.hook.pytest_runtest_logreport(
            report=pytest.TestReport(
                nodeid=item.nodeid,
                location=item.location,
                keywords={},
                outcome="failed",
                longrepr=f"the tester died in {item.nodeid} ({tester.process.exitcode})",
                when="call",
            )
        )
        if tester.left[1:]:
            self._waiting.appendleft(tester.left[1:])
        if self._waiting:
            self._start()


class _Told:
    """In a tester: passes each report on to the reader."""

    def __init__(self, config: pytest.Config, link: Connection) -> None:
        self._config = config
        self._link = link

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._link.send(("report", told))


def _test(session: pytest.Session, link: Connection, others: list[Connection], tester: int) -> None:
    """A tester's life; the ends of others, held here, would outlive their owners."""
    for other in others:
        other.close()
    atexit._clear()  # what the reader registered is the reader's
    _settle(session.config, tester)
    session.config.pluginmanager.register(_Told(session.config, link), "told")
    item = None
    try:
        while group := _ask(link):
            for number, following in zip(group, [*group[1:], None], strict=True):
                item = session.items[number]
                # Behind the last one only what the whole session shares is kept.
                then: Any = session if following is None else session.items[following]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=then)
                link.send(("ended", number))
        if item is not None:
            _end(item)
    except (KeyboardInterrupt, EOFError, ConnectionError):
        # A key is heard by reader and testers, and the reader tells them once more.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        session._setupstate.teardown_exact(None)
    finally:
        # multiprocessing runs what is registered only from Python 3.14 on.
        atexit._run_exitfuncs()


def _end(last: pytest.Item) -> None:
    """Tear down what the session shares; what fails in that is told of its last test."""
    call = pytest.CallInfo.from_call(
        lambda: last.session._setupstate.teardown_exact(None), "teardown"
    )
    report = last.config.hook.pytest_runtest_makereport(item=last, call=call)
    if report.failed:
        last.config.hook.pytest_runtest_logreport(report=report)


def _ask(link: Connection) -> Group | None:
    link.send(("more", None))
    answer: Group | None = link.recv()
    return answer


def _settle(config: pytest.Config, tester: int) -> None:
    """What was opened before the fork is shared by all: files of captured output, and a folder."""
    plugins = config.pluginmanager
    plugins.unregister(name="terminalreporter")
    capture: Any = plugins.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture(in_=True)
    # pytest offers no way to say this once the run has begun.
    folders: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    folders._basetemp = folders.getbasetemp() / f"tester-{tester}"
    folders._basetemp.mkdir(mode=0o700)
