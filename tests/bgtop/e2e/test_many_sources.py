"""Several sources on one screen: what is found joins, and what fails disturbs nobody."""

from __future__ import annotations

import http.server
import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from terminal import Terminal

from bgtop.testing import wait_until

OpenTerminal = Callable[..., Terminal]
Run = Callable[..., subprocess.CompletedProcess[str]]


class Web(http.server.BaseHTTPRequestHandler):
    """Refuses everything, and keeps no log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web_port() -> Iterator[int]:
    """A server that speaks another protocol."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def row(terminal: Terminal, *words: str) -> str | None:
    """The line of the screen that begins with these words, whatever is between them."""
    pattern = r"^ " + r" .*".join(map(re.escape, words)) + r"\b"
    return next((line for line in terminal.lines if re.match(pattern, line)), None)


def test_one_of_five_is_well(
    open_terminal: OpenTerminal, make_redis: Any, make_rq: Any, make_celery: Any, web_port: int
) -> None:
    """Stopped, hung, locked, another protocol; and one with two systems, live all the while."""
    stopped, hung, locked, good = [
        make_redis(*options) for options in ((), (), ("--requirepass", "secret"), ())
    ]
    stopped.stop()
    hung.send_signal(signal.SIGSTOP)
    rq = make_rq(good.url)
    rq.put("default")
    make_celery(good.url).put("default", 7)
    other = f"redis://127.0.0.1:{web_port}/0"
    urls = [good.url, *(server.url for server in (stopped, hung, locked)), other]

    terminal = open_terminal(*urls, "--interval", "0.2", columns=120, rows=40)
    terminal.wait(lambda: row(terminal, "default", "celery", "7"))
    for depth in range(2, 12):
        rq.put("default")
        # Less than a hung server is waited for, so no wait for that one can be in it.
        terminal.wait(lambda depth=depth: row(terminal, "default", "rq", str(depth)), 4.5)

    terminal.wait_for(
        f"127.0.0.1:{stopped.port}/0: connection refused by 127.0.0.1:{stopped.port}",
        f"127.0.0.1:{hung.port}/0: no answer from 127.0.0.1:{hung.port} within 5 s",
        f"127.0.0.1:{locked.port}/0: 127.0.0.1:{locked.port} asks for a password",
        f"127.0.0.1:{web_port}/0: 127.0.0.1:{web_port} does not speak the Redis protocol",
        " OK ",
        "2 sources",
        seconds=30,
    )
    assert row(terminal, "default", "celery", "7")

    hung.send_signal(signal.SIGCONT)
    stopped.start()
    words = "no job system found at 127.0.0.1"
    terminal.wait(lambda: terminal.text.count(words) == 2, 40)
    terminal.press("q")
    assert terminal.end() == 0


def test_systems_join_a_live_screen(
    open_terminal: OpenTerminal, redis_server: Any, make_rq: Any, make_huey: Any
) -> None:
    terminal = open_terminal(redis_server.url, "--interval", "0.2", columns=100)
    terminal.wait_for("no job system found at", "looked at 0 keys")

    make_rq(redis_server.url).put("default", 3)
    terminal.wait(lambda: row(terminal, "default", "3"))
    make_huey("RedisHuey", redis_server.url).put("default", 4)
    terminal.wait(lambda: row(terminal, "default", "huey", "4"), 20)

    terminal.wait(lambda: row(terminal, "default", "rq", "3"))
    terminal.press("j")
    terminal.wait(lambda: re.match(r"default +rq +3 ", terminal.selected()))
    assert "no job system found" not in terminal.text


def test_a_program_reads_who_is_who(
    run: Run, redis_server: Any, make_rq: Any, make_dramatiq: Any
) -> None:
    make_rq(redis_server.url).put("default", 3)
    make_dramatiq(redis_server.url).put("default", 4)

    done = run("snapshot", redis_server.url, "--format", "json")

    document = json.loads(done.stdout)
    place = f"127.0.0.1:{redis_server.port}/0"
    assert (done.returncode, done.stderr) == (0, "")
    assert [(it["name"], it["system"], it["url"]) for it in document["sources"]] == [
        (place, "dramatiq", redis_server.url),
        (place, "rq", redis_server.url),
    ]
    assert [(it["source"], it["system"], it["depth"]) for it in document["queues"]] == [
        (place, "dramatiq", 4),
        (place, "rq", 3),
    ]


def test_a_place_without_any_system_is_no_failure(run: Run, redis_server: Any) -> None:
    done = run("snapshot", redis_server.url, "--format", "json")

    [source] = json.loads(done.stdout)["sources"]
    assert (done.returncode, source["system"], source["error"]) == (0, None, None)
    words = f"no job system found at 127.0.0.1:{redis_server.port}/0: looked at 0 keys"
    assert source["warnings"] == [words]


def test_a_place_nobody_listens_at_is_a_failure(run: Run, free_port: int) -> None:
    done = run("snapshot", f"redis://127.0.0.1:{free_port}/0")

    words = f"bgtop: connection refused by 127.0.0.1:{free_port}\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_backend_names_one_of_several(run: Run, redis_server: Any, make_rq: Any) -> None:
    make_rq(redis_server.url).put("default", 3)

    done = run("snapshot", redis_server.url, "--backend", "huey", "--format", "json")

    [source] = json.loads(done.stdout)["sources"]
    assert source["system"] == "huey"


def test_the_screen_of_a_failing_place_comes_back(
    open_terminal: OpenTerminal, redis_server: Any, make_rq: Any, make_celery: Any
) -> None:
    """Each system says that it is down, and the search says nothing besides."""
    make_rq(redis_server.url).put("default", 3)
    make_celery(redis_server.url).put("default", 4)
    terminal = open_terminal(redis_server.url, "--interval", "0.2", columns=120)
    terminal.wait(lambda: row(terminal, "default", "celery", "4"))

    redis_server.stop()
    place = f"127.0.0.1:{redis_server.port}/0"
    terminal.wait_for(f"{place} celery: connection", f"{place} rq: connection")
    assert "no further systems" not in terminal.text

    redis_server.start()
    wait_until(lambda: terminal.read(0.1) is not None and " OK " in terminal.text, seconds=30)
