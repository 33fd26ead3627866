"""How a whole run is made: who tests what, and that nothing is skipped where that must not be.

In continuous integration every test runs: with ``CI`` set, a skipped test is a failed one.

Locally a test may skip when a program it needs is missing. A fixture only has to call
``pytest.skip`` with the install line; this plug-in turns it into a failure where that must be.

What was compiled is kept, whatever ``PYTHONDONTWRITEBYTECODE`` says: a run starts thousands of
Pythons, and each would compile all that it imports, which is a quarter of the start of a worker.
``make clean`` removes it.
"""

from __future__ import annotations

import compileall
import os
import re
import sys
from collections.abc import Generator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _split(nodeid: str) -> tuple[str, str]:
    path, _, test = nodeid.partition("::")
    return path, test


def _needs_node(path: str, test: str) -> bool:
    said = "rabbit" in path.rpartition("/")[2] or re.search(r"[\[-]rabbit[\]-]", test) is not None
    return said and "/unit/" not in path


class ByFile(LoadFileScheduling):
    """A file's tests stay on one tester; those of RabbitMQ are two groups, each with one node."""

    def _split_scope(self, nodeid: str) -> str:
        path = str(super()._split_scope(nodeid))
        if path not in self._on_rabbit:
            return path
        name = path.rpartition("/")[2]
        return "rabbit of celery" if "celery" in name and "rabbit" in name else "rabbit"

    @cached_property
    def _on_rabbit(self) -> frozenset[str]:
        """The files whose tests need a node: their names say so, or a parameter does."""
        collected = next(iter(self.registered_collections.values()))
        return frozenset(path for path, test in map(_split, collected) if _needs_node(path, test))

    def remove_node(self, node: WorkerController) -> str | None:
        """The test a tester died in is not tried again, and what it had finished is not handed on.

        Both would leave a run waiting for ever: for a test that ends every tester, and for an
        answer about files of which nothing is left to run.
        """
        ended_in = None
        for scope, tests in self.assigned_work.pop(node).items():
            left = [name for name, done in tests.items() if not done]
            if left and ended_in is None:
                ended_in = left.pop(0)
            if left:
                self.workqueue[scope] = dict.fromkeys(left, False)
        if ended_in is not None:
            for other in self.nodes:
                self._reschedule(other)
        return ended_in

    def _reschedule(self, node: WorkerController) -> None:
        """A tester runs a test only when it knows the next one, or that there is none."""
        if node.shutting_down or node not in self.registered_collections:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) <= 2:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    """Only for ``--dist loadfile``, which is what ``make test`` asks for."""
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Each tester begins elsewhere in a folder, and finds compiled what others have read before."""
    report = yield
    settings = getattr(collector.config, "workerinput", None)
    if settings is not None and isinstance(collector, pytest.Directory):
        # A failed report has no list.
        found = list(getattr(report, "result", None) or ())
        number, testers = int(settings["workerid"][2:]), settings["workercount"]
        first = len(found) * number // testers
        report.result = [*found[first:], *found[:first]]
    return report


class Uncollected:
    """A run in which a file could not be read ends as an interrupted one: its tests never ran.

    With testers it would end as one in which tests failed, and those alone are tried again.
    """

    def __init__(self) -> None:
        self.found = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.found = self.found or report.failed

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found:
            session.exitstatus = pytest.ExitCode.INTERRUPTED


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped too, and has run.
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and CI is set: {reason}"


class NoSkips:
    """The hooks, registered only where skipping is not allowed."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        _fail_if_skipped(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        _fail_if_skipped(report)
        return report


_ROOT = Path(__file__).parents[2]
_STARTED = ("src", "tests/plugins", "tests/bgworker/apps")
"""Folders whose modules are imported by programs that the tests start."""


def _compile_once(config: pytest.Config) -> None:
    """Before the testers begin, which have ``workerinput``."""
    if hasattr(config, "workerinput"):
        return
    for folder in _STARTED:
        compileall.compile_dir(_ROOT / folder, quiet=2)


def pytest_configure(config: pytest.Config) -> None:
    _compile_once(config)
    config.pluginmanager.register(Uncollected(), "uncollected")
    if os.environ.get("CI"):
        config.pluginmanager.register(NoSkips(), "no-skips")
