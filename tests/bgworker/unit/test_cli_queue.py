"""``bgworker pause``, ``resume``, ``schedule``, ``doctor`` and the limits of ``run``."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from bgworker.cli.main import main
from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import JobSpec, TaskPolicy, WorkerProfile
from bgworker.schedule import every


@pytest.fixture
def path(url: str) -> str:
    """A queue with a waiting job and a schedule that no worker declares any more."""
    path = url.removeprefix("sqlite:///")
    with closing(SqliteEngine(path)) as engine:
        task = TaskPolicy(name="shop.tidy", queue="mail", priority=5, schedule=every(hours=1))
        profile = WorkerProfile(name="w", host="h", pid=1, concurrency=1)
        engine.leave(engine.join(profile, [task]))
        engine.enqueue([JobSpec(task="shop.send", queue="mail")])
    return path


def test_a_paused_queue_says_so(path: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", "mail", "--url", url]) == 0
    assert capsys.readouterr().out == "mail is paused\n"
    assert main(["stats", "--url", url]) == 0
    assert "mail (paused)" in capsys.readouterr().out

    assert main(["resume", "mail", "--url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"queue": "mail", "paused": False}
    assert main(["stats", "--url", url]) == 0
    assert "(paused)" not in capsys.readouterr().out


def test_programs_see_what_is_paused_even_before_its_first_job(
    path: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pause", "new", "--url", url]) == 0
    assert main(["pause", "mail", "--url", url]) == 0
    assert main(["resume", "mail", "--url", url]) == 0
    capsys.readouterr()
    assert main(["stats", "--url", url, "--json"]) == 0
    queues = json.loads(capsys.readouterr().out)["queues"]

    assert {name: queue["paused"] for name, queue in queues.items()} == {"mail": False, "new": True}
    assert (queues["mail"]["queued"], queues["new"]["queued"]) == (1, 0)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_no_queue_is_made_in_order_to_be_paused(
    verb: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(url.removeprefix("sqlite:///"))

    assert main([verb, "mail", "--url", url]) == 1

    assert str(file) in capsys.readouterr().err
    assert not list(file.parent.glob(f"{file.name}*"))


def test_schedules_are_listed(path: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "--url", url]) == 0
    assert "shop.tidy" in capsys.readouterr().out
    assert main(["schedule", "--url", url, "--json"]) == 0
    assert [one["task"] for one in json.loads(capsys.readouterr().out)] == ["shop.tidy"]


def test_the_doctor_finds_a_job_that_nobody_will_run(
    path: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", "--url", url, "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]

    assert code == int(any(one["severity"] == "error" for one in found))
    assert any("shop.send" in one["evidence"] for one in found), found
    assert main(["doctor", "--url", url]) == code
    shown = capsys.readouterr().out
    assert all(one["what"] in shown for one in found)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--rate-limit", "5", "is no rate"),
        ("--retention-days", "0", "must be a number of days above 0, or forever"),
        ("--cleanup-interval-hours", "x", "must be a number of hours above 0"),
        ("--max-jobs-per-child", "0", "1 or more"),
        ("--max-rss", "many", "1 or more"),
    ],
)
def test_what_is_no_limit_is_refused(
    option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--app", "shop", option, value])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_the_limits_of_run_reach_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    import bgworker.worker.run

    given = []
    monkeypatch.setattr(bgworker.worker.run, "run_worker", given.append)
    monkeypatch.setenv("BGWORKER_RATE_LIMIT", "120/m")
    monkeypatch.setenv("BGWORKER_MAX_RSS", "300")
    options = ("--retention-days", "forever", "--cleanup-interval-hours", "2")
    assert main(["run", "--app", "shop", *options, "--max-jobs-per-child", "9"]) == 0

    (found,) = given
    assert (found.rate_limit, found.max_rss, found.max_jobs_per_child) == (2.0, 300, 9)
    assert (found.retention_days, found.cleanup_interval_hours) == (None, 2.0)
