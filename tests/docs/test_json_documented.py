"""Each key of our JSON documents is in the reference, and no other."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from specimens import WORKER

from bgtop.model import (
    BackendInfo,
    CurrentTask,
    Frame,
    QueueReading,
    Reading,
    Snapshot,
    Source,
    WorkerReading,
)
from bgtop.state.findings import Case
from bgtop.symptoms import finding
from bgtop.view.document import document_of
from bgtop.view.finding_records import document_of_findings
from bgtop.view.lists import SCHEDULES, TASKS, TYPES, Kind
from bgworker.checkup import Checkup, Fault, checkup_json
from bgworker.cli import main
from bgworker.inspector import QueueStats, Stats
from bgworker.model import JobId, JobRecord, TaskPolicy
from bgworker.report import job_json, stats_json
from bgworker.schedule import every
from bgworker.schedule_report import schedules_json
from bgworker.standing import declare
from bgworker.states import JobState

REFERENCE = (Path(__file__).parents[2] / "docs/reference/json.md").read_text()
NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


def documented(heading: str) -> set[str]:
    """The names in the first column of the table below a heading."""
    text = re.split(rf"^#+ {re.escape(heading)}$", REFERENCE, flags=re.MULTILINE)[1]
    table = re.split(r"^#", text, maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.fixture(scope="module")
def snapshot() -> dict[str, Any]:
    worker = WorkerReading(name="w", current=(CurrentTask(id="1", name="t"),))
    reading = Reading(taken_at=NOW, queues=(QueueReading(name="q"),), workers=(worker,))
    info = BackendInfo(system="any", broker="any", url="any://")
    source = Source(name="s", info=info, reading=reading)
    return document_of(Frame(snapshot=Snapshot(taken_at=NOW, sources=(source,))))


@pytest.fixture(scope="module")
def stats() -> dict[str, Any]:
    queue = QueueStats(
        name="q",
        states=dict.fromkeys(JobState, 0),
        by_priority={},
        available_since=None,
        paused=False,
        **dict.fromkeys(
            [
                *("succeeded_total", "failed_total", "dead_total", "cancelled_total"),
                *("retried_total", "runs", "run_ms"),
            ],
            0,
        ),
        last_ended_at=None,
    )
    found = Stats(queues=(queue,), workers=(WORKER,), rescued=0, stale_writes=0)
    document: dict[str, Any] = json.loads(stats_json(found))
    return document


@pytest.mark.parametrize("part", ["sources", "queues", "workers"])
def test_rows_of_a_snapshot(snapshot: dict[str, Any], part: str) -> None:
    assert set(snapshot[part][0]) == documented(f"`{part}`")


@pytest.mark.parametrize("kind", [TASKS, TYPES, SCHEDULES], ids=lambda kind: kind.name)
def test_rows_of_a_list(kind: Kind) -> None:
    assert set(kind.empty) == documented(f"`{kind.name}`")


def test_findings() -> None:
    empty = Frame(snapshot=Snapshot(taken_at=NOW, sources=()))
    source = Source(name="s", info=BackendInfo(system="any", broker="any", url="any://"))
    case = Case(source, finding("warning", "s", "e", "m"))
    document = document_of_findings(empty, (case,))

    assert set(document["findings"][0]) == documented("`findings`")


def test_a_snapshot_as_a_whole(snapshot: dict[str, Any]) -> None:
    assert set(snapshot) == documented("`bgtop snapshot --format json`")
    assert set(snapshot["totals"]) == documented("`totals`")


def test_the_example_has_the_shape_of_a_snapshot(snapshot: dict[str, Any]) -> None:
    example = json.loads(re.findall(r"```json\n(.*?)```", REFERENCE, re.DOTALL)[0])

    assert list(example) == list(snapshot)
    for part in ("sources", "queues", "workers"):
        assert list(example[part][0]) == list(snapshot[part][0])
    assert list(example["totals"]) == list(snapshot["totals"])
    assert list(example["workers"][0]["current"][0]) == list(snapshot["workers"][0]["current"][0])


def test_stats(stats: dict[str, Any]) -> None:
    assert set(stats) == documented("`bgworker stats --json`")
    states = documented("Keys of `states`")
    assert set(stats["states"]) == states
    assert set(stats["queues"]["q"]) == states | documented("Keys of a queue")
    assert set(stats["workers"][0]) == documented("Keys of a worker")


def test_a_job() -> None:
    record = JobRecord(
        id=JobId("1"),
        task="t",
        queue="q",
        state=JobState.QUEUED,
        priority=5,
        args="[[],{}]",
        enqueued_at=0,
    )

    assert set(json.loads(job_json(record))) == documented("`bgworker inspect ID --json`")


def test_what_changing_commands_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BGWORKER_URL", raising=False)
    answer("enqueue", "t", "--queue", "q")
    cancelled, retried = answer("cancel", "1"), answer("retry", "1")

    assert set(cancelled) == set(retried) == documented("`bgworker cancel --json`")
    for (job,) in (cancelled["jobs"], retried["jobs"]):
        assert set(job) == documented("`jobs` of a change")
    assert set(answer("purge", "--yes")) == documented("`bgworker purge --json`")
    assert set(answer("failed")) == documented("`bgworker failed --json`")


def test_a_schedule() -> None:
    task = TaskPolicy(name="t", queue="q", priority=5, schedule=every(hours=1))
    standing = declare(task, None, 0, awake=False)
    assert standing is not None

    (row,) = json.loads(schedules_json([standing]))
    assert set(row) == documented("`bgworker schedule --json`")


def test_a_checkup() -> None:
    task = TaskPolicy(name="t", queue="q", priority=5)
    found = Checkup(app="a", now=0, tasks=[task], faults=[Fault(what="w")])
    document = json.loads(checkup_json(found))

    assert set(document) == documented("`bgworker check --json`")
    assert set(document["tasks"][0]) == documented("Keys of a task")
    assert set(document["findings"][0]) == documented("Keys of a finding")
