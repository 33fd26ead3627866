"""Fixtures of bgtop's own tests: the command in a terminal, and a source that plays a script."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import redis
from scripted_source import BGTOP, Script, install
from terminal import Terminal


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment without the user's own settings, in which the scripted plug-in is found."""
    # COLUMNS too: whoever exports it would decide how wide every screen is.
    ours = ("BGTOP_", "BGWORKER_", "XDG_", "LC_", "NO_COLOR", "LANG", "TERM", "COLUMNS", "LINES")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    home = tmp_path / "home"
    home.mkdir()
    plugins = install(tmp_path / "site")
    return {**inherited, "HOME": str(home), "LC_ALL": "C.UTF-8", **plugins}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = which("chromium") or which("chromium-browser")
    if path is None:
        pytest.skip("no chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def admin(redis_server: Any) -> Iterator[redis.Redis]:
    """A client of :func:`redis_server` that may do everything."""
    with redis.Redis(port=redis_server.port) as admin:
        yield admin


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A scripted source with two queues and a worker."""
    script = Script(tmp_path / "script.json")
    script.queues("mail", "push", workers=[{"name": "w1", "beat": 1, "running": 0}])
    return script


@pytest.fixture
def run(
    environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end, without a terminal."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BGTOP, *arguments],
            env={**environment, **more},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def call(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in this process: the same as ``run`` in a fraction of its time."""
    for name in os.environ:
        if name not in environment:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        from bgtop.cli.main import main

        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**environment, **more}.items():
                patch.setenv(name, value)
            capsys.readouterr()
            try:
                status: object = main(arguments)
            except SystemExit as end:
                status = end.code
        assert isinstance(status, int)
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return call


@pytest.fixture
def open_terminal(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Run a command in a terminal: ``bgtop`` with these arguments, or another ``command``."""
    terminals: list[Terminal] = []

    def open_terminal(
        *arguments: str,
        command: tuple[str, ...] = (BGTOP,),
        columns: int = 80,
        rows: int = 24,
        forked: bool = False,
        **more: str,
    ) -> Terminal:
        terminal = Terminal(
            [*command, *arguments],
            {**environment, **more},
            columns=columns,
            rows=rows,
            folder=tmp_path,
            forked=forked,
        )
        terminals.append(terminal)
        return terminal

    yield open_terminal
    for terminal in terminals:
        terminal.close()
