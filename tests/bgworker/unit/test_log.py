"""One event, one line, whatever a task is called and whatever it says."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgworker.clock import ManualClock
from bgworker.log import EVENTS, Log, chosen_style, complain

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
HOSTILE = 'a\n"b\\\r\x1b[2J\x07\x9b31m\u202e\u2028\ud800\x00é\U0001f680'


def written(style: str, emit: Callable[[Log], None]) -> str:
    """What a log writes."""
    read, write = os.pipe()
    log = Log("host-1-ab", style=style, fd=write, clock=ManualClock(1_795_233_600_123))
    emit(log)
    log.flush()
    os.close(write)
    with open(read, "rb") as file:
        return file.read().decode()


@given(st.sampled_from(sorted(EVENTS)), texts, st.dictionaries(st.just("error"), texts))
def test_json_lines_are_json_and_one_line(event: str, task: str, fields: dict[str, str]) -> None:
    text = written("json", lambda log: log.emit(event, task, "17", **fields))

    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert text.isascii()
    assert json.loads(text) == {
        "ts": "2026-11-21T04:00:00.123Z",
        "level": EVENTS[event],
        "event": event,
        "worker": "host-1-ab",
        "task": task,
        "job_id": "17",
        **fields,
    }


@given(st.sampled_from(sorted(EVENTS)), texts, texts)
def test_text_lines_cannot_move_the_cursor(event: str, task: str, error: str) -> None:
    """A task's name and what it says come from whoever may enqueue."""
    text = written("text", lambda log: log.emit(event, task, "17", error=error))

    assert text.endswith("\n")
    assert text[:-1].isprintable(), ascii(text)


def test_fields_of_every_kind() -> None:
    fields: dict[str, Any] = {
        "duration": 0.25,
        "tasks": 3,
        "signal": None,
        "flag": True,
        "odd": {1, 2} and {"a": [1]},
        "object": ValueError("x"),
    }
    found = json.loads(written("json", lambda log: log.emit("worker_start", **fields)))

    assert "signal" not in found
    assert "task" not in found
    assert "job_id" not in found
    assert (found["duration"], found["tasks"], found["flag"]) == (0.25, 3, True)
    assert (found["odd"], found["object"]) == ({"a": [1]}, "x")


def test_a_line_for_people() -> None:
    text = written(
        "text",
        lambda log: log.emit("task_success", "jobs.add", "17", duration=0.0004, detail="all well"),
    )

    assert text == "04:00:00 task_success jobs.add #17 duration=0.000 detail=all well\n"


def test_the_same_task_in_many_events_and_seconds() -> None:
    """What is kept from line to line is right for each of them."""
    read, write = os.pipe()
    clock = ManualClock(1_795_233_599_999)
    log = Log("w", style="json", fd=write, clock=clock)
    for step in (0.0, 0.001, 0.0, 60.0, -3600.0):
        clock.advance(step)
        log.emit("task_start", "t", "1", attempt=1)
        log.emit("task_start", "u", "2", attempt=1)
        log.emit("task_success", "t", "1", duration=1.5)
    log.flush()
    os.close(write)
    with open(read, "rb") as file:
        lines = [json.loads(line) for line in file]

    assert [line["ts"][11:] for line in lines[::3]] == [
        "03:59:59.999Z",
        "04:00:00.000Z",
        "04:00:00.000Z",
        "04:01:00.000Z",
        "03:01:00.000Z",
    ]
    assert [(line["event"], line["task"]) for line in lines[:3]] == [
        ("task_start", "t"),
        ("task_start", "u"),
        ("task_success", "t"),
    ]


def test_lines_are_written_whole_although_others_write_too() -> None:
    """A pipe that several processes write to takes only 4 kB in one piece."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)  # full most of the time
    pid = os.fork()
    if pid == 0:
        os.close(read)
        for _ in range(3_000):
            os.write(write, b"printed by a task\n")
        os._exit(0)
    pid_of_log = os.fork()
    if pid_of_log == 0:
        os.close(read)
        log = Log("w", style="json", fd=write)
        for batch in range(60):
            for n in range(50):
                log.emit("task_failed", "jobs.task", str(batch * 50 + n), error="x" * n)
            log.flush()
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        lines = file.read().decode().split("\n")[:-1]
    os.waitpid(pid, 0)
    os.waitpid(pid_of_log, 0)

    assert lines.count("printed by a task") == 3_000
    events = [json.loads(line) for line in lines if line != "printed by a task"]
    assert [event["job_id"] for event in events] == [str(n) for n in range(3_000)]


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("letter", ["x", "é", "\U0001f680", "\x1b", "\ud800", '"'])
def test_a_line_is_never_more_than_a_pipe_takes_in_one_piece(style: str, letter: str) -> None:
    """Whatever it quotes is cut; what is short, and what is no text, stays as it is."""
    long = letter * 100_000
    text = written(
        style,
        lambda log: log.emit(
            "task_failed", long, "17", error=long, limit=0.5, detail="short", x=[long]
        ),
    )

    assert text.count("\n") == 1
    assert 200 < len(text.encode()) <= 4096
    assert "…" in text or "\\u2026" in text
    if style == "json":
        found = json.loads(text)
        assert (found["limit"], found["detail"], found["job_id"]) == (0.5, "short", "17")
        assert long.startswith(found["task"].removesuffix("…"))
    else:
        assert "detail=short" in text


def test_a_reader_that_has_gone_is_no_reason_to_stop() -> None:
    """What it did not take is dropped, not kept for the next: the log must not grow."""
    read, write = os.pipe()
    os.close(read)
    log = Log("w", style="json", fd=write)
    log.emit("worker_start")
    log.flush()
    os.close(write)
    log.emit("task_start")
    log.flush()

    read, again = os.pipe()
    if again != write:
        os.dup2(again, write)
        os.close(again)
    log.emit("worker_stop")
    log.flush()
    os.close(write)
    with open(read, "rb") as file:
        assert [json.loads(line)["event"] for line in file] == ["worker_stop"]


def test_nothing_is_written_without_an_event() -> None:
    assert written("json", lambda log: log.flush()) == ""


@pytest.mark.parametrize(
    ("chosen", "terminal", "style"),
    [
        (None, True, "text"),
        (None, False, "json"),
        ("json", True, "json"),
        ("text", False, "text"),
        ("nonsense", True, "text"),
        ("nonsense", False, "json"),
        ("", False, "json"),
    ],
)
def test_the_style_is_chosen(
    chosen: str | None, terminal: bool, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chosen is None:
        monkeypatch.delenv("BGWORKER_LOG", raising=False)
    else:
        monkeypatch.setenv("BGWORKER_LOG", chosen)
    first, second = pty.openpty() if terminal else os.pipe()

    assert chosen_style(second) == style
    os.close(first)
    os.close(second)


def test_a_complaint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Even when it repeats what somebody typed."""
    complain(f"no such thing as {HOSTILE}")
    text = capsys.readouterr().err

    assert text.startswith("bgworker: no such thing as a")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()


def test_every_documented_event_has_a_level() -> None:
    assert set(EVENTS.values()) <= {"info", "warning", "error"}
    assert all(re.fullmatch(r"[a-z_]+", event) for event in EVENTS)


@pytest.mark.parametrize(
    ("noise", "between"), [(b"no end", b"no end\n"), (b"a line\n", b"a line\n"), (b"", b"")]
)
def test_in_a_file_a_line_of_ours_begins_a_line(
    tmp_path: Path, noise: bytes, between: bytes
) -> None:
    """Whatever a task has written to the same file; and no line more than needed."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = Log("w", style="text", fd=fd, clock=ManualClock(1_795_233_600_123))
    for _ in range(2):
        log.emit("worker_start")
        log.flush()
    ours = path.read_bytes()
    os.write(fd, noise)
    log.emit("worker_stop")
    log.flush()
    log.flush()
    os.close(fd)

    assert ours == b"04:00:00 worker_start\n" * 2
    assert path.read_bytes() == ours + between + b"04:00:00 worker_stop\n"
