"""A skip is a failure when ``CI`` is set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent

SKIPS = {
    "called": "def test_it():\n    pytest.skip('no server')\n",
    "marked": "@pytest.mark.skip(reason='no server')\ndef test_it():\n    pass\n",
    "in_a_fixture": (
        "@pytest.fixture\ndef server():\n    pytest.skip('no server')\n\n"
        "def test_it(server):\n    pass\n"
    ),
    "whole_module": "pytest.skip('no server', allow_module_level=True)\n",
}


def run_pytest(folder: Path, source: str, *, ci: bool) -> subprocess.CompletedProcess[str]:
    (folder / "test_sample.py").write_text(f"import pytest\n\n{source}")
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"PYTHONPATH": str(PLUGINS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if ci:
        environment["CI"] = "true"
    command = [sys.executable, "-m", "pytest", "-p", "ci_rules", "--rootdir", folder, folder]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_a_skip_fails_the_run_in_ci_and_says_which(tmp_path: Path, source: str) -> None:
    done = run_pytest(tmp_path, source, ci=True)

    assert done.returncode != 0
    assert "test_sample.py" in done.stdout
    assert "was skipped, and CI is set: " in done.stdout
    assert "no server" in done.stdout


def test_a_skip_is_allowed_elsewhere(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SKIPS["called"], ci=False)

    assert (done.returncode, "1 skipped" in done.stdout) == (0, True)


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "@pytest.mark.xfail\ndef test_it():\n    assert 0\n", ci=True)

    assert (done.returncode, "1 xfailed" in done.stdout) == (0, True)
