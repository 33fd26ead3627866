"""In continuous integration every test runs: with ``CI`` set, a skipped test is a failed one.

Locally a test may skip when a program it needs is missing. A fixture only has to call
``pytest.skip`` with the install line; this plug-in turns it into a failure where that must be.

What was compiled is kept, whatever ``PYTHONDONTWRITEBYTECODE`` says: a run starts thousands of
Pythons, and each would compile all that it imports, which is a quarter of the start of a worker.
``make clean`` removes it.
"""

from __future__ import annotations

import compileall
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


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


def pytest_configure(config: pytest.Config) -> None:
    for folder in _STARTED:
        compileall.compile_dir(_ROOT / folder, quiet=2)
    if os.environ.get("CI"):
        config.pluginmanager.register(NoSkips(), "no-skips")
