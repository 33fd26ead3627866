"""How a whole run is made: who tests what, and that nothing is skipped where that must not be.

Tests start hundreds of Pythons, so all of them find our modules compiled, whatever the environment
says of caches: to compile them anew would be a quarter of what it costs to start a worker.

In continuous integration every test runs: with ``CI`` set, a skipped test is a failed one.

Locally a test may skip when a program it needs is missing. A fixture only has to call
``pytest.skip`` with the install line; this plug-in turns it into a failure where that must be.
"""

from __future__ import annotations

import compileall
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling


class ByFile(LoadFileScheduling):
    """A file's tests stay on one tester; those of RabbitMQ are two groups, each with one node."""

    def _split_scope(self, nodeid: str) -> str:
        path = str(super()._split_scope(nodeid))
        name = path.rpartition("/")[2]
        if "rabbit" not in name:
            return path
        return "rabbit of celery" if "celery" in name else "rabbit"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    """Only for ``--dist loadfile``, which is what ``make test`` asks for."""
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


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
    """Before the testers begin, which have ``workerinput`` and inherit the environment."""
    if hasattr(config, "workerinput"):
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for folder in _STARTED:
        compileall.compile_dir(_ROOT / folder, quiet=2)


def pytest_configure(config: pytest.Config) -> None:
    _compile_once(config)
    if os.environ.get("CI"):
        config.pluginmanager.register(NoSkips(), "no-skips")
