"""``bgtop init``: it asks, tests and writes, and never writes over what is there."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def file(environment: dict[str, str]) -> Path:
    return Path(environment["HOME"], ".bgtoprc")


def test_a_conversation(
    open_terminal: Callable[..., Terminal], redis_server: Any, file: Path
) -> None:
    terminal = open_terminal("init", columns=120)

    for question, answer in (
        ("What to watch (a URL) [redis://localhost:6379/0]:", "nonsense"),
        ("'nonsense' is not a URL", "no"),
        ("What to watch (a URL) [nonsense]:", f"rq+{redis_server.url}"),
        ("Seconds between two readings [5]:", "2"),
        ("Allow changes (retry, cancel, purge …) [yes]:", "no"),
        (f"Write this to {file} [yes]:", ""),
    ):
        terminal.wait_for(question)
        terminal.press(f"{answer}\r")

    assert terminal.end() == 0
    assert file.read_text() == (
        f"[DEFAULT]\nurl = rq+{redis_server.url}\nrefresh_interval = 2\nread_only = yes\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_was_written_can_be_used_and_is_not_written_over(
    call: Call, redis_server: Any, make_rq: Callable[..., Any], file: Path
) -> None:
    url = f"rq+{redis_server.url}"
    make_rq(redis_server.url).put("mail")

    first = call("init", "--url", url, "--yes")
    again = call("init", "--url", "sqlite:///other.db", "--yes")

    assert (first.returncode, first.stderr) == (0, "")
    assert "connected: rq with 1 queue and 0 workers" in first.stdout
    assert call("queues").returncode == 0
    assert (again.returncode, again.stdout) == (1, "")
    assert "has a section [DEFAULT]" in again.stderr
    assert file.read_text() == f"[DEFAULT]\nurl = {url}\nrefresh_interval = 5\n"


def test_a_profile_joins_what_is_there_and_a_password_closes_the_file(
    call: Call, redis_server: Any, file: Path
) -> None:
    file.write_text("# mine\n[DEFAULT]\nmax_queues = 5")
    file.chmod(0o644)
    place = redis_server.url.partition("://")[2]

    plain = call("init", "--url", f"rq+redis://{place}", "--profile", "a", "--yes")
    assert (plain.returncode, stat.S_IMODE(file.stat().st_mode)) == (0, 0o644)
    assert call("queues", "a").returncode == 0

    refused = call("init", "--url", f"rq+redis://u:S3CRET@{place}", "--profile", "b", "--yes")
    assert refused.returncode == 1
    assert "S3CRET" not in refused.stdout + refused.stderr

    redis_server.stop()
    redis_server.start("--requirepass", "S3CRET")
    closed = call("init", "--url", f"rq+redis://:S3CRET@{place}", "--profile", "b", "--yes")
    assert (closed.returncode, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    assert "S3CRET" not in closed.stdout + closed.stderr
    assert file.read_text().startswith("# mine\n[DEFAULT]\nmax_queues = 5\n\n[a]\nurl = ")


def test_what_cannot_be_reached_is_not_written(call: Call, file: Path) -> None:
    done = call("init", "--url", "redis://127.0.0.1:1", "--yes")

    assert (done.returncode, file.exists()) == (1, False)
    assert "connection refused" in done.stderr


def test_the_end_of_the_answers_is_the_end(
    open_terminal: Callable[..., Terminal], file: Path
) -> None:
    terminal = open_terminal("init")
    terminal.wait_for("What to watch")
    terminal.press("\x04")

    assert terminal.end() == 1
    assert not file.exists()
