"""The JSON document and the CSV tables: every key is there, whatever is known."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

from frames import ANY_FRAME, INFO, T0, ago, frame, queues, source
from hypothesis import given

from bgtop.model import (
    Age,
    AgeKind,
    CurrentTask,
    Failure,
    Frame,
    QueueReading,
    Rates,
    Reading,
    Source,
    WorkerReading,
    WorkerState,
)
from bgtop.view.document import document_of
from bgtop.view.sheets import sheets_of

NUMBER = (int, float)
Types = tuple[type, ...]

# Name, the types it may have, and whether it may be null. Written out: readers rely on it.
SOURCE: dict[str, tuple[Types, bool]] = {
    "name": ((str,), False),
    "url": ((str,), False),
    "system": ((str,), False),
    "broker": ((str,), False),
    "broker_version": ((str,), True),
    "taken_at": ((str,), True),
    "poll_seconds": (NUMBER, True),
    "round_trips": ((int,), True),
    "commands": ((int,), True),
    "error": ((str,), True),
    "warnings": ((list,), False),
    "totals": ((dict,), False),
}
QUEUE: dict[str, tuple[Types, bool]] = {
    "source": ((str,), False),
    "system": ((str,), False),
    "name": ((str,), False),
    "depth": ((int,), True),
    "by_priority": ((dict,), True),
    "unacked": ((int,), True),
    "scheduled": ((int,), True),
    "deferred": ((int,), True),
    "running": ((int,), True),
    "failed": ((int,), True),
    "dead": ((int,), True),
    "oldest_age_seconds": (NUMBER, True),
    "oldest_age_is": ((str,), True),
    "in_per_second": (NUMBER, True),
    "out_per_second": (NUMBER, True),
    "drain_seconds": (NUMBER, True),
    "runtime_mean_seconds": (NUMBER, True),
    "last_completed_at": ((str,), True),
    "consumers": ((int,), True),
    "paused": ((bool,), True),
    "internal": ((bool,), False),
    "malformed": ((bool,), False),
    "rates_are": ((str,), True),
}
WORKER: dict[str, tuple[Types, bool]] = {
    "source": ((str,), False),
    "system": ((str,), False),
    "name": ((str,), False),
    "state": ((str,), False),
    "last_heartbeat_at": ((str,), True),
    "heartbeat_age_seconds": (NUMBER, True),
    "queues": ((list,), True),
    "concurrency": ((int,), True),
    "running": ((int,), True),
    "processed": ((int,), True),
    "failed": ((int,), True),
    "cpu_percent": (NUMBER, True),
    "rss_bytes": ((int,), True),
    "pid": ((int,), True),
    "host": ((str,), True),
    "started_at": ((str,), True),
    "version": ((str,), True),
    "current": ((list,), True),
}
TOTALS: dict[str, tuple[Types, bool]] = {
    "queues": ((int,), False),
    "workers": ((int,), False),
    "depth": ((int,), True),
    "unacked": ((int,), True),
    "scheduled": ((int,), True),
    "running": ((int,), True),
    "failed": ((int,), True),
    "dead": ((int,), True),
    "hidden": ((dict,), False),
}


def check_record(record: dict[str, Any], shape: dict[str, tuple[Types, bool]]) -> None:
    assert list(record) == list(shape)
    for key, (types, may_be_null) in shape.items():
        value = record[key]
        assert may_be_null if value is None else isinstance(value, types), (key, value)
        if bool not in types:
            assert not isinstance(value, bool), key


@given(ANY_FRAME)
def test_every_key_is_there_whatever_is_known(seen: Frame) -> None:
    document = json.loads(json.dumps(document_of(seen), allow_nan=False))

    assert list(document) == ["schema", "taken_at", "sources", "queues", "workers", "totals"]
    assert document["schema"] == 1
    for record in document["sources"]:
        check_record(record, SOURCE)
    for record in document["queues"]:
        check_record(record, QUEUE)
    for record in document["workers"]:
        check_record(record, WORKER)
    check_record(document["totals"], TOTALS)


def known() -> Frame:
    queue = QueueReading(
        name="mail",
        depth=12,
        by_priority={3: 2, 0: 10},
        unacked=4,
        oldest=Age(3.2000000001, AgeKind.AT_LEAST),
        last_completed_at=ago(1.5),
        paused=False,
    )
    worker = WorkerReading(
        name="celery@h1",
        last_heartbeat_at=ago(1.1),
        running=1,
        queues=("mail", "slow"),
        current=(CurrentTask(id="7f", name="app.send", started_at=ago(60)),),
    )
    rates = {("a", "mail"): Rates(in_per_second=5.0, out_per_second=6.0, drain_seconds=12.0)}
    reading = Reading(taken_at=T0, queues=(queue,), workers=(worker,), broker_version="7.0.15")
    return frame(source(reading), rates=rates)


def test_what_is_known_is_told() -> None:
    document = document_of(known())

    assert document["taken_at"] == "2026-11-21T04:00:00.000Z"
    [queue] = document["queues"]
    assert queue["by_priority"] == {"0": 10, "3": 2}
    assert (queue["oldest_age_seconds"], queue["oldest_age_is"]) == (3.2, "at_least")
    assert queue["last_completed_at"] == "2026-11-21T03:59:58.500Z"
    assert (queue["in_per_second"], queue["drain_seconds"]) == (5.0, 12.0)
    [worker] = document["workers"]
    assert (worker["state"], worker["heartbeat_age_seconds"]) == ("active", 1.1)
    assert worker["current"] == [
        {"id": "7f", "name": "app.send", "started_at": "2026-11-21T03:59:00.000Z"}
    ]
    assert document["totals"]["depth"] == 12


def test_a_source_that_is_down_says_why_and_keeps_its_rows() -> None:
    failure = Failure(message="refused", since=T0)

    document = document_of(frame(source(queues("mail"), failure=failure)))

    assert document["sources"][0]["error"] == "refused"
    assert [queue["name"] for queue in document["queues"]] == ["mail"]


def test_passwords_are_not_in_the_document() -> None:
    """A backend should have removed it already; this is the last gate."""
    careless = replace(INFO, url="redis://user:pa:ss@w@h:6379/0?password=secret&db=1")

    text = json.dumps(document_of(frame(Source(name="a", info=careless))))

    assert "redis://user:***@h:6379/0?password=***&db=1" in text
    assert "secret" not in text


def test_names_are_told_as_they_are() -> None:
    name = "evil\x1b[31m\ud800日本"

    text = json.dumps(document_of(frame(source(queues(name)))))

    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text)["queues"][0]["name"] == name


def test_csv_has_a_heading_per_table_and_the_keys_of_the_document() -> None:
    first, second = sheets_of(known()).split("\n\n")

    [queue] = csv.DictReader(io.StringIO(first))
    assert list(queue) == list(QUEUE)
    assert (queue["name"], queue["by_priority"], queue["failed"]) == ("mail", "0:10 3:2", "")
    assert queue["paused"] == "false"
    [worker] = csv.DictReader(io.StringIO(second))
    assert list(worker) == list(WORKER)
    assert (worker["queues"], worker["current"]) == ("mail slow", "app.send")


def test_csv_of_nothing_still_names_the_columns() -> None:
    lines = sheets_of(frame(source(None))).splitlines()

    assert [line.split(",")[:3] for line in lines if line] == [["source", "system", "name"]] * 2


@given(ANY_FRAME)
def test_csv_has_one_line_per_row_whatever_the_names(seen: Frame) -> None:
    text = sheets_of(seen)

    rows = sum(
        len(s.reading.queues) + len(s.reading.workers) for s in seen.snapshot.sources if s.reading
    )
    assert len(text.splitlines()) == rows + 3
    assert text.replace("\n", "").isprintable()


def test_a_worker_nobody_judged_is_unknown() -> None:
    reading = Reading(taken_at=T0, workers=(WorkerReading(name="w"),))
    unjudged = Source(name="a", info=INFO, reading=reading)

    assert document_of(frame(unjudged))["workers"][0]["state"] == WorkerState.UNKNOWN.value
