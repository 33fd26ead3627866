"""Settings of the live view, in a real terminal: alerts, keys, the order, the log."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_source import Script
from terminal import Terminal

Open = Callable[..., Terminal]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def file(environment: dict[str, str]) -> Path:
    return Path(environment["HOME"], ".bgtoprc")


def test_a_broken_rule_is_shown_rings_and_runs_the_command(
    open_terminal: Open, script: Script, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (tmp_path / "page-me").write_text(f"#!/bin/sh\nenv > {out}.new; mv {out}.new {out}\n")
    (tmp_path / "page-me").chmod(0o755)
    file.write_text(f"[alerts]\ndepth = push=5\ncommand = {tmp_path}/page-me\n")

    terminal = open_terminal(script.url, "--interval", "0.2", columns=100)
    terminal.wait_for("mail", "Help")
    assert "ALERT" not in terminal.text
    script.write(queues=[{"name": "mail", "depth": 9}, {"name": "push", "depth": 9}])

    terminal.wait_for("ALERT  push: 9 waiting, more than 5")
    terminal.wait(out.exists)
    assert "BGTOP_ALERT_SUBJECT=push\n" in out.read_text()
    assert b"\a" in terminal.written
    script.queues("mail", "push")
    terminal.wait(lambda: "ALERT" not in terminal.text)
    terminal.press("q")
    assert terminal.end() == 0


def test_keys_of_the_user(open_terminal: Open, script: Script, file: Path) -> None:
    file.write_text("[keys]\nquit = x\nfilter = f\nnone = q\n")

    terminal = open_terminal(script.url, TERM="xterm-256color")
    terminal.wait_for("mail", "push")
    terminal.press("q")
    terminal.press("f")
    terminal.press("fx")
    terminal.wait_for("fx")
    terminal.press("\x1b")
    terminal.press("x")

    assert terminal.end() == 0


def test_the_first_order(open_terminal: Open, script: Script) -> None:
    script.write(queues=[{"name": "a", "depth": 1}, {"name": "b", "depth": 7}])

    terminal = open_terminal(script.url, "--sort", "depth")
    terminal.wait_for("Help", " b ", " a ")
    lines = [line.split()[0] for line in terminal.text.splitlines() if line[1:3] in {"a ", "b "}]
    terminal.press("q")

    assert lines == ["b", "a"]
    assert terminal.end() == 0


def test_an_order_that_is_none(open_terminal: Open, script: Script) -> None:
    terminal = open_terminal(script.url, "--sort", "colour")

    assert terminal.end() == 2
    assert "--sort: 'colour' is no column of queues" in terminal.written.decode()


def test_a_renderer_that_is_none(open_terminal: Open, script: Script) -> None:
    terminal = open_terminal(script.url, "--renderer", "crayon")

    assert terminal.end() == 2
    assert "unknown renderer 'crayon'" in terminal.written.decode()


def test_tracebacks_are_in_the_log_while_the_screen_is_taken(
    open_terminal: Open, script: Script, environment: dict[str, str]
) -> None:
    log = Path(environment["HOME"], ".local/state/bgtop/bgtop.log")
    script.write(crash="a bug")

    terminal = open_terminal(script.url, "--verbose", "--interval", "0.2")
    terminal.wait_for("a bug")
    terminal.wait(lambda: log.exists() and "ZeroDivisionError: a bug" in log.read_text())
    terminal.press("q")

    assert terminal.end() == 0
    assert log.stat().st_mode & 0o777 == 0o600


def test_rules_are_held_against_a_real_queue_and_its_workers(
    open_terminal: Open, rq: Any, file: Path
) -> None:
    """Depth, a queue nobody takes from, and a worker that is gone: as it comes, and as it goes."""
    file.write_text("[alerts]\ndepth = mail=2\nno_consumer = yes\nworker_gone = yes\n")
    rq.start_worker("w1", "mail")

    terminal = open_terminal(f"rq+{rq.url}", "--interval", "0.2", columns=120)
    terminal.wait_for("w1", "idle")
    assert "ALERT" not in terminal.text
    rq.kill("w1")
    terminal.wait_for("ALERT")
    terminal.wait_for("w1")
    rq.put("mail", 3)
    terminal.wait_for("ALERT", "and 2 more")
    assert b"\a" in terminal.written
    rq.work_off("mail")
    terminal.wait(lambda: "waiting" not in terminal.text and "no consumer" not in terminal.text)
    terminal.press("q")

    assert terminal.end() == 0
