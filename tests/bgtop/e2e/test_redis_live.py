"""The live view of a real Redis: what it loads and costs, and how it survives an outage."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from compileall import compile_dir
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from terminal import Terminal

import bgtop

OpenTerminal = Callable[..., Terminal]

TOO_HEAVY = {
    *("argparse", "ast", "asyncio", "base64", "celery", "dataclasses", "dis", "gettext", "hashlib"),
    *("http", "http.server", "inspect"),
    *("importlib.metadata", "kombu", "locale", "logging", "redis", "rich", "shutil", "sqlite3"),
    *("ssl", "subprocess", "textual", "urllib.parse", "wcwidth", "zlib", "zoneinfo"),
    *("bgtop.cli.options", "bgtop.view.job_columns", "bgtop.view.outcomes"),
    *("bgtop.view.questions", "bgtop.view.subjects"),
}
MOST_MEGABYTES = 20
if sys.version_info >= (3, 14):
    # Its typing.NamedTuple loads annotationlib, and that ast: half a megabyte nobody can leave out.
    TOO_HEAVY -= {"ast"}
    MOST_MEGABYTES += 1

ONLY_TO_LOOK_INSIDE_OR_ACT = {
    "celery": ("checkup", "completions", "redbeat", "redis_jobs", "task_messages"),
    "dramatiq": ("finding", "looking", "places", "redis_actions", "stored_message"),
    "huey": ("looking", "messages", "redis_actions", "rows"),
    "rq": ("control", "jobs", "schedules", "scripts", "tasks", "whole"),
}
OUTAGES = 20
MOST_GROWTH = 300  # kB over all outages

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


@pytest.mark.parametrize("system", ONLY_TO_LOOK_INSIDE_OR_ACT)
def test_what_only_a_look_inside_or_an_action_needs_is_not_loaded(
    open_terminal: OpenTerminal, redis_server: Any, system: str
) -> None:
    terminal = open_terminal("-c", PROBE, f"{system}+{redis_server.url}", command=(sys.executable,))
    terminal.wait_for(" OK ")
    terminal.press("q")
    assert terminal.end() == 0

    found = re.search(rb"MODULES (.*) END", terminal.written.replace(b"\r\n", b""))
    assert found is not None
    modules = set(found[1].decode().split())
    package = f"bgtop.backends.{system}"
    assert package in modules
    unwanted = {f"{package}.{name}" for name in ONLY_TO_LOOK_INSIDE_OR_ACT[system]}
    for name in unwanted:
        assert find_spec(name) is not None
    assert modules & (unwanted | TOO_HEAVY) == set()


def test_memory_stays_small(open_terminal: OpenTerminal, queue_url: str) -> None:
    # As installed: where no byte code may be written, sources that changed are compiled each time.
    assert compile_dir(Path(bgtop.__file__).parent, quiet=1)
    terminal = open_terminal(queue_url, "--interval", "0.1", TERM="xterm-256color")
    terminal.wait_for("mail", " OK ")
    terminal.press("?")
    terminal.wait_for("bgtop help")

    assert memory_of(terminal, "VmHWM") / 1024 < MOST_MEGABYTES


def wait_for_depth(terminal: Terminal, depth: int) -> None:
    """Until the screen shows this depth of the queue."""
    terminal.wait(lambda: re.search(rf"^ mail +{depth} ", terminal.text, re.MULTILINE), 20)


def memory_of(terminal: Terminal, what: str) -> int:
    """Kilobytes, as the kernel counts them."""
    with open(f"/proc/{terminal.process.pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return int(status[what].split()[0])


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
    wait_for_depth(terminal, 7)


def test_a_redis_that_is_not_there_yet(
    open_terminal: OpenTerminal, redis_server: Any, queue_url: str
) -> None:
    redis_server.stop()
    terminal = open_terminal(queue_url, columns=100)
    terminal.wait_for(" DOWN ", "nothing read yet")

    redis_server.start()

    terminal.wait_for(" OK ", seconds=20)


def test_twenty_outages_leave_no_trace(
    open_terminal: OpenTerminal, redis_server: Any, queue_url: str
) -> None:
    """It recovers each time by itself, says nothing but what it knows, and does not grow."""
    terminal = open_terminal(queue_url, "--interval", "0.2", "--verbose", columns=100)
    terminal.wait_for("mail", " OK ")
    sizes = []
    for outage in range(1, OUTAGES + 1):
        redis_server.stop()
        terminal.wait_for(" DOWN ", "connection", "retry in")
        redis_server.start()
        with Redis.from_url(queue_url) as client:
            client.rpush("mail", *["{}"] * outage)
            client.sadd("_kombu.binding.mail", "mail\x06\x16\x06\x16mail")
        wait_for_depth(terminal, outage)
        terminal.wait_for(" OK ")
        sizes.append(memory_of(terminal, "VmRSS"))
    terminal.press("q")

    assert terminal.end() == 0
    assert b"Traceback" not in terminal.written
    # The first outages bring in what a failure needs; from then on nothing may be added.
    assert sizes[-1] - sizes[4] < MOST_GROWTH, sizes
