"""Rows for scripts, of a real queue."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer
from scripted_source import Script

from bgworker import BgWorker
from bgworker.inline import run_until_idle

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A queue with two waiting jobs, one that is not due, and one that failed."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = BgWorker(url)

    @app.task(name="mail.send", queue="mail")
    def send(to: str, password: str = "") -> None:
        raise ValueError(f"no such user: {to} password={password}")

    send.delay("ann", password="S3CRET")
    run_until_idle(app)
    send.delay("bob", password="S3CRET")
    send.options(queue="bulk").delay("cid")
    send.options(countdown=3600).delay("dan")
    app.close()
    return url


def rows(call: Run, *arguments: str) -> list[dict[str, Any]]:
    done = call(*arguments, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)[arguments[0]]
    return found


def test_queues_and_workers(call: Run, url: str) -> None:
    assert [q["name"] for q in rows(call, "queues", url, "--sort", "!name")] == ["mail", "bulk"]
    assert [q["name"] for q in rows(call, "queues", url, "--filter", "^b")] == ["bulk"]
    assert rows(call, "workers", url) == []

    text = call("queues", url, "--limit", "1").stdout.splitlines()
    assert [line.split()[0] for line in text] == ["QUEUE", "bulk"]
    sheet = call("queues", url, "--format", "csv").stdout
    assert [row["depth"] for row in csv.DictReader(io.StringIO(sheet))] == ["1", "1"]


def test_single_jobs_and_their_secrets(call: Run, url: str) -> None:
    jobs = rows(call, "tasks", url)
    assert sorted(job["state"] for job in jobs) == ["failed", "scheduled", "waiting", "waiting"]
    assert [job["args"] for job in rows(call, "tasks", url, "--queue", "bulk")] == ['["cid"]']
    [failed] = rows(call, "tasks", url, "--state", "failed")

    one = call("task", failed["id"], url)
    whole = json.loads(call("task", failed["id"], url, "--format", "json").stdout)["task"]
    shown = call("task", failed["id"], url, BGTOP_REDACT="off").stdout

    assert "ValueError: no such user: ann password=***" in one.stdout
    assert whole["traceback"].startswith("Traceback")
    assert whole["kwargs"] == '{"password": "***"}'
    assert "S3CRET" not in f"{jobs}{one.stdout}{whole}"
    assert "S3CRET" in shown


def test_figures_by_task(call: Run, url: str) -> None:
    done = call("tasks", url, "--by-type", "--format", "json")

    [task] = json.loads(done.stdout)["task_types"]
    assert (task["name"], task["waiting"], task["failed"]) == ("mail.send", 2, 1)
    assert task["exceptions"] == {"ValueError": 1}


def test_figures_by_task_of_a_system_that_tells_events_only(call: Run, tmp_path: Path) -> None:
    """They are followed while several readings are taken; one reading hears of none."""
    script = Script(tmp_path / "script.json")
    counts = {"received": 9, "succeeded": 6, "failed": 2}
    series = {"task": "mail.send", "counts": counts, "in_flight": 1, "runtime": [[0, 8], 0.05]}
    script.write(events={"since": 1, "series": [series]})
    command = ("tasks", script.url, "--by-type", "--format", "json", "--interval", "0.2")

    one = json.loads(call(*command).stdout)["task_types"]
    [task] = json.loads(call(*command, "--samples", "2").stdout)["task_types"]

    assert one == []
    assert (task["running"], task["succeeded"], task["failed"]) == (1, 6, 2)
    assert (task["in_per_second"], task["out_per_second"]) == (0, 0)


def test_no_figures_by_task_where_nobody_listened(call: Run, redis_server: RedisServer) -> None:
    """Celery keeps none: an empty list would say that no task ever ran."""
    command = ("tasks", f"celery+{redis_server.url}", "--by-type")

    one = call(*command)
    assert (one.returncode, one.stdout) == (1, "")
    assert "celery tells its tasks by events only: --samples 2 follows them" in one.stderr
    two = call(*command, "--samples", "2", "--interval", "0.2")
    assert (two.returncode, two.stderr) == (0, "")


def test_schedules(call: Run, url: str) -> None:
    assert rows(call, "schedules", url) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["task", "999"], 1, "no job 999 was found in bgworker"),
        (["queues", "--sort", "x"], 2, "--sort: 'x' is no column of queues; known: source,"),
        (["queues", "--filter", "("], 2, "--filter: not a pattern"),
        (["tasks", "--state", "lost"], 2, "argument --state: invalid choice: 'lost'"),
        (["task"], 2, "the following arguments are required: ID"),
    ],
)
def test_what_cannot_be_shown(
    arguments: list[str], status: int, words: str, call: Run, url: str
) -> None:
    done = call(*arguments, url) if arguments != ["task"] else call("task")

    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
