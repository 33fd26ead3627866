"""``bgtop record`` and ``bgtop replay``, as they are installed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from recorded_hour import NOON, beginning, hour, shops
from scripted_source import BGTOP, Script
from terminal import Terminal

from bgtop.cli.replay import moment_named
from bgtop.playback import Playback
from bgtop.recording import Recorder
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn

TICK = timedelta(seconds=0.1)
Call = Callable[..., subprocess.CompletedProcess[str]]
Open = Callable[..., Terminal]
WaitUntil = Callable[..., Any]


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recording of the first ten minutes of the scripted hour."""
    path = str(tmp_path_factory.mktemp("recorded") / "x.bgtop")
    known = Knowledge(snapshot=beginning(*shops()[::2]))
    recorder = Recorder(path, most=5_000_000)
    recorder.begin(known, NOON, 5.0)
    for at, sample in hour(seconds=596):
        known = learn(known, sample, Selection())
        recorder.hear(sample, known, at)
    recorder.close()
    return path


@contextmanager
def recording(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [BGTOP, "record", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def depths(path: str) -> list[int | None]:
    """The depth of the first queue, as it was recorded."""
    found: list[int | None] = []
    with closing(Playback(path)) as playback:
        at = playback.begin
        while at <= playback.end + TICK:
            [source] = playback.seek(at).snapshot.sources
            found += [queue.depth for queue in source.reading.queues] if source.reading else []
            at += TICK
    return found


def readable(path: str) -> list[int | None]:
    try:
        return depths(path)
    except Exception:  # noqa: BLE001 - not there yet
        return []


def test_a_recording_killed_is_replayed_and_gone_on_with(
    environment: dict[str, str], script: Script, tmp_path: Path, call: Call, wait_until: WaitUntil
) -> None:
    path = str(tmp_path / "x.bgtop")
    script.write(queues=[{"name": "mail", "depth": 5}])
    with recording(environment, path, script.url, "--interval", "0.2") as process:
        wait_until(lambda: 5 in readable(path))
        script.write(queues=[{"name": "mail", "depth": 7}])
        wait_until(lambda: 7 in readable(path))
        process.kill()
        process.wait()

        shown = call("replay", path)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert re.search(r"^mail +7 ", shown.stdout, re.MULTILINE)

    script.write(fail="gone fishing")
    with recording(environment, path, script.url, "--interval", "0.2") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == (
            f"bgtop: going on with {path}: script.json; Ctrl-C ends it\n"
        )
        wait_until(lambda: "DOWN" in call("replay", path).stdout.upper())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert re.search(r"x\.bgtop: \d+ readings, [\d.]+K\n$", process.stderr.read())
    assert {5, 7} <= set(depths(path))
    assert os.listdir(os.path.dirname(path)).count("x.bgtop-wal") == 0


def test_two_recordings_of_one_name(
    environment: dict[str, str], script: Script, tmp_path: Path, call: Call, wait_until: WaitUntil
) -> None:
    path = str(tmp_path / "x.bgtop")
    with recording(environment, path, script.url, "--interval", "0.2") as process:
        wait_until(lambda: readable(path))

        second = call("record", path, script.url)

        assert second.returncode == 1
        assert f"{path} is being written by process {process.pid} on" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_what_record_refuses(call: Call, script: Script, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    diary.write_text("dear diary")

    done = call("record", str(diary), script.url)
    assert (done.returncode, done.stderr) == (
        1,
        f"bgtop: {diary} is no recording of bgtop; it was left as it is\n",
    )
    assert diary.read_text() == "dear diary"
    done = call("record", script.url)
    assert done.returncode == 2
    assert "bgtop record FILE SOURCE" in done.stderr
    assert call("record", str(tmp_path / "y"), script.url, "--max-size", "5k").returncode == 2
    assert call("record", str(tmp_path / "y"), script.url, "--with", "jam").returncode == 2
    assert call("record", str(tmp_path / "no" / "y"), script.url).returncode == 1
    assert call("replay", str(tmp_path / "y")).returncode == 1


def test_one_moment_as_text_and_json(ten_minutes: str, call: Call) -> None:
    done = call("replay", ten_minutes, "--format", "json", "--at", "+300")
    document = json.loads(done.stdout)
    assert document["taken_at"].startswith("2026-11-21T12:04:5")
    assert {source["system"] for source in document["sources"]} == {"celery", "huey"}
    assert any(queue["in_per_second"] for queue in document["queues"])

    by_clock = call("replay", ten_minutes, "--at", "12:05:00", TZ="UTC")
    assert by_clock.stdout == call("replay", ten_minutes, "--at", "2026-11-21T12:05:00Z").stdout
    assert "QUEUE" in by_clock.stdout
    assert call("replay", ten_minutes, "--at=-1s").stdout.startswith("Queues ")
    for text in ("noon", "25:00", "2026-11-21T11:59:00Z", "+3h"):
        done = call("replay", ten_minutes, "--at", text)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--at: " in done.stderr


def test_one_moment_tells_which_rules_were_broken(
    ten_minutes: str, call: Call, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("[alerts]\ndepth = 1\n")
    at = ("replay", ten_minutes, "--at", "+300")
    alerts = json.loads(call(*at, "--format", "json", "--config", str(rules)).stdout)["alerts"]
    document = json.loads(call(*at, "--format", "json").stdout)

    up = {source["name"] for source in document["sources"] if source["error"] is None}
    deep = {q["name"] for q in document["queues"] if q["source"] in up and q["depth"] > 1}
    assert deep
    assert {alert["subject"] for alert in alerts} == deep
    assert {alert["rule"] for alert in alerts} == {"depth"}
    first = f"alert: {alerts[0]['subject']}"
    assert first in call(*at, "--config", str(rules)).stdout
    assert "alert: " not in call(*at).stdout
    assert document["alerts"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+2m", "2026-11-21T23:52"),
        ("-1h", "2026-11-22T00:50"),
        ("2026-11-22T00:10Z", "2026-11-22T00:10"),
        ("x", None),
    ],
)
def test_moments_by_name(text: str, expected: str | None) -> None:
    begin = datetime(2026, 11, 21, 23, 50, tzinfo=timezone.utc)
    end = datetime(2026, 11, 22, 1, 50, tzinfo=timezone.utc)
    moment = expected and datetime.fromisoformat(expected).replace(tzinfo=timezone.utc)

    assert moment_named(text, begin, end) == moment


def position(terminal: Terminal) -> str:
    found = re.search(r"REPLAY +2026-11-21 (\d\d:\d\d:\d\d) UTC", terminal.text)
    return found[1] if found else ""


def test_seek_pause_and_speed_in_a_terminal(open_terminal: Open, ten_minutes: str) -> None:
    terminal = open_terminal(
        "replay", ten_minutes, "--speed", "10", "--at", "+60", columns=120, rows=40, TZ="UTC"
    )
    terminal.wait_for("queue.00", "×10", "every 5s", "of 9m")
    assert terminal.wait(lambda: position(terminal) > "12:01:02")
    terminal.press("p")
    terminal.wait_for("paused, p goes on", "Pause", "10 s", "1 min", "Speed")
    terminal.press("home")
    terminal.wait(lambda: position(terminal) == "12:00:00")
    terminal.wait_for("waiting for the first reading")
    terminal.press("]", "]", "]", "right", "right", "left", "[")
    terminal.wait(lambda: position(terminal) == "12:02:10")
    terminal.wait_for("queue.00", "w@h0")
    still = terminal.lines
    terminal.press("]")
    terminal.wait(lambda: position(terminal) == "12:03:10")
    terminal.press("[")
    terminal.wait(lambda: terminal.lines == still)
    terminal.press("+")
    terminal.press("end")
    terminal.wait(lambda: position(terminal) > "12:09:50")
    terminal.press("home", "p")
    terminal.wait_for("×20")
    terminal.press("-", "-", "-")
    terminal.wait_for("×2 ")
    terminal.press("q")
    assert terminal.end() == 0


def test_a_recording_is_looked_at_and_nothing_is_done_to_it(
    open_terminal: Open, ten_minutes: str
) -> None:
    terminal = open_terminal("replay", ten_minutes, "--at", "+60", columns=120, rows=40, TZ="UTC")
    terminal.wait_for("queue.00")
    terminal.press("p", "P")
    terminal.wait_for("this is a recording: it can be looked at, and nothing can be done to it")
    terminal.press("?")
    terminal.wait_for("ten seconds back", "play faster")
    assert "delete" not in terminal.text
    terminal.press("esc")
    terminal.press("j", "enter")
    terminal.wait_for("queue queue.01", "celery cannot tell single jobs")
    terminal.press("q", "q")
    assert terminal.end() == 0


def test_a_recording_that_goes_on_is_followed(
    environment: dict[str, str],
    open_terminal: Open,
    script: Script,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    path = str(tmp_path / "x.bgtop")
    script.write(queues=[{"name": "mail", "depth": 5}])
    with recording(environment, path, script.url, "--interval", "0.2"):
        wait_until(lambda: readable(path))
        terminal = open_terminal("replay", path, columns=100)
        terminal.press("end")
        terminal.wait_for("mail ")
        script.write(queues=[{"name": "mail", "depth": 7_654}])
        terminal.wait_for("7654")
        terminal.press("q")
        assert terminal.end() == 0
