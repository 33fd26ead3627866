"""The live view of a real Redis: what it loads and costs, and how it survives an outage."""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from terminal import Terminal

OpenTerminal = Callable[..., Terminal]

TOO_HEAVY = {
    *("asyncio", "celery", "http", "http.server", "importlib.metadata", "kombu", "logging"),
    *("redis", "rich", "sqlite3", "ssl", "subprocess", "textual", "wcwidth"),
}
MOST_MEGABYTES = 20
MOST_CPU_SECONDS = 0.2

# The command, and on its way out what it had loaded.
PROBE = """
import sys
from bgtop.cli.main import main
status = main(sys.argv[1:])
print("MODULES", *sorted(sys.modules), "END")
sys.exit(status)
"""


@pytest.fixture
def queue_url(redis_server: Any) -> str:
    """A Redis with one Celery queue of three messages, as kombu would have left it."""
    with Redis.from_url(redis_server.url) as client:
        client.sadd("_kombu.binding.mail", "mail\x06\x16\x06\x16mail")
        client.rpush("mail", *["{}"] * 3)
    return str(redis_server.url)


def test_the_live_view_loads_nothing_heavy(open_terminal: OpenTerminal, queue_url: str) -> None:
    terminal = open_terminal("-c", PROBE, queue_url, command=(sys.executable,))
    terminal.wait_for("mail", " OK ")

    terminal.press("/", "m", "enter", "?", "x", "q")
    assert terminal.end() == 0

    found = re.search(rb"MODULES (.*) END", terminal.written.replace(b"\r\n", b""))
    assert found is not None
    modules = set(found[1].decode().split())
    assert "bgtop.session" in modules
    assert modules & TOO_HEAVY == set()


def test_memory_stays_small(open_terminal: OpenTerminal, queue_url: str) -> None:
    terminal = open_terminal(queue_url, "--interval", "0.1", TERM="xterm-256color")
    terminal.wait_for("mail", " OK ")
    terminal.press("?")
    terminal.wait_for("bgtop help")

    with open(f"/proc/{terminal.process.pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    assert int(status["VmHWM"].split()[0]) / 1024 < MOST_MEGABYTES


def test_the_first_screen_takes_little_time(open_terminal: OpenTerminal, queue_url: str) -> None:
    """Processor time of a whole run: unlike the time on the wall, it is the same under load."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        terminal = open_terminal(queue_url)
        terminal.wait_for("mail", " OK ")
        terminal.press("q")
        assert terminal.end() == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(spent) < MOST_CPU_SECONDS


def test_watching_costs_little(open_terminal: OpenTerminal, queue_url: str) -> None:
    terminal = open_terminal(queue_url, "--interval", "1", columns=120, rows=40)
    terminal.wait_for("mail", " OK ")
    began, used = time.monotonic(), cpu_seconds(terminal)

    terminal.wait(lambda: time.monotonic() - began > 4)

    share = (cpu_seconds(terminal) - used) / (time.monotonic() - began)
    # The goal is 0.7 %; twice that leaves room for a busy machine.
    assert share < 0.014


def cpu_seconds(terminal: Terminal) -> float:
    """Time on a processor so far, to the nanosecond: of all threads."""
    tasks = f"/proc/{terminal.process.pid}/task"
    total = 0
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def test_an_outage_is_told_and_survived(
    open_terminal: OpenTerminal, redis_server: Any, queue_url: str
) -> None:
    terminal = open_terminal(queue_url, "--interval", "0.2", columns=100)
    terminal.wait_for("mail", " OK ")

    redis_server.stop()
    terminal.wait_for(" DOWN ", "retry in", " old", "mail")
    assert " OK " not in terminal.text

    redis_server.start()
    terminal.wait_for(" OK ", seconds=20)
    with Redis.from_url(queue_url) as client:
        client.rpush("mail", *["{}"] * 7)
    terminal.wait(lambda: re.search(r"^ mail +7 ", terminal.text, re.MULTILINE))


def test_a_redis_that_is_not_there_yet(
    open_terminal: OpenTerminal, redis_server: Any, queue_url: str
) -> None:
    redis_server.stop()
    terminal = open_terminal(queue_url, columns=100)
    terminal.wait_for(" DOWN ", "nothing read yet")

    redis_server.start()

    terminal.wait_for(" OK ", seconds=20)
