"""Ten thousand hostile names and messages in each system: nothing happens but a true picture."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from hostile_brokers import GOOD, WAITING, Hostile, fill
from scripted_source import BGTOP
from terminal import Terminal

BGTOP_OWN = re.compile(
    rb"\x1b(\[\?[0-9;]*[hlc]|\[[0-9;]*[HJKmABCDGdhlrXPL@MSTu]|[()][0-9A-Z]|[78=>M])|[\r\n\b\x0f\x0e]"
)
"""What curses sends; none of it is among the sequences of hostile names."""

CONTROL = re.compile(rb"(?:[\x00-\x1f\x7f]|\xc2[\x80-\x9f]).{,9}")
"""A byte of the first 32, or of C1 as UTF-8 spells it; and what follows, to be understood."""

STEPS = 320  # of some eight names and messages each: ten thousand in four systems


@pytest.fixture(params=["celery", "rq", "huey", "dramatiq"])
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    return tmp_path / "unpickled"


@pytest.fixture
def url(system: str, redis_server: Any, trap: Path, request: pytest.FixtureRequest) -> str:
    """A server with one good queue of real messages, and all the rest."""
    if system == "huey":
        request.getfixturevalue("make_huey")("RedisHuey", redis_server.url).put(
            "agoodqueue", WAITING
        )
    else:
        request.getfixturevalue(system).put(GOOD, WAITING)
    with redis.Redis(port=redis_server.port) as admin:
        fill(admin, system, Hostile(20261121, trap), STEPS)
    return f"{system}+{redis_server.url}"


@pytest.mark.timeout(180)
def test_nothing_happens_but_a_true_picture(
    system: str,
    url: str,
    trap: Path,
    environment: dict[str, str],
    open_terminal: Callable[..., Terminal],
) -> None:
    good = GOOD.replace("-", "") if system == "huey" else GOOD
    kinds = ("json", "text", "csv")

    def snapshot(kind: str) -> subprocess.CompletedProcess[bytes]:
        command = [BGTOP, "snapshot", url, "--format", kind]
        return subprocess.run(command, env=environment, capture_output=True, timeout=90, check=True)

    # Side by side: a snapshot of Dramatiq waits for seconds.
    with ThreadPoolExecutor() as threads:
        outputs = dict(zip(kinds, threads.map(snapshot, kinds), strict=True))
    document = json.loads(outputs["json"].stdout)
    queues = {queue["name"]: queue for queue in document["queues"]}
    assert queues[good]["depth"] == WAITING
    assert len(queues) > STEPS
    assert document["sources"][0]["warnings"]
    malformed = [queue for queue in document["queues"] if queue["malformed"]]
    assert len(malformed) > STEPS // 3
    assert not queues[good]["malformed"]
    assert outputs["text"].stdout.count(b" malformed") >= len(malformed)
    assert outputs["json"].stderr == b""
    assert CONTROL.findall(outputs["text"].stdout.replace(b"\n", b"")) == []

    terminal = open_terminal(url, "--interval", "0.5", columns=120, rows=40)
    terminal.wait_for("QUEUE", seconds=30)
    for key in ("end", "pgup", "home", "pgdn", "tab", "end", "tab", "home"):
        terminal.press(key)
        terminal.wait(lambda: terminal.read(0.2) == b"")
    terminal.press("/", good, "enter")
    terminal.wait(lambda: any(line.split()[:2] == [good, str(WAITING)] for line in terminal.lines))
    terminal.press("q")
    assert terminal.end() == 0
    assert CONTROL.findall(BGTOP_OWN.sub(b"", terminal.written)) == []
    assert not trap.exists()
