"""What a worker says is checked before it is shown, and merged with what was heard of it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from math import inf, nan
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.model import WorkerReading, WorkerState
from bgtop.state.worker_views import WorkerView, worker_view

AT = datetime(2026, 11, 21, 4, tzinfo=timezone.utc)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside),
    max_leaves=8,
)
METHODS = ("stats", "active_queues", "registered", "active", "scheduled", "revoked", "clock")


def view(heard: WorkerReading | None = None, asked: bool = True, **said: Any) -> WorkerView:
    return worker_view(("h/0", "celery"), "w@h", heard, said, AT, asked=asked)


@pytest.mark.parametrize(
    ("state", "asked", "status"),
    [
        (WorkerState.ACTIVE, True, "silent"),
        (WorkerState.UNKNOWN, True, "silent"),
        (WorkerState.DEAD, True, "offline"),
        (WorkerState.IDLE, False, "online"),
        (WorkerState.UNKNOWN, False, "unknown"),
        (WorkerState.DEAD, False, "offline"),
    ],
)
def test_one_that_says_nothing(state: WorkerState, asked: bool, status: str) -> None:
    heard = WorkerReading(name="w@h", state=state, queues=("mail",), running=2, pid=7)
    found = view(heard, asked)

    assert (found["status"], found["active"], found["pid"]) == (status, 2, 7)
    assert found["queues"] is not None
    assert found["queues"][0]["name"] == "mail"
    assert view(None)["status"] == "offline"


def test_answers_are_newer_than_events() -> None:
    heard = WorkerReading(
        name="w@h",
        running=2,
        processed=3,
        last_heartbeat_at=AT - timedelta(seconds=1.5),
        load=(0.5, 0.25, 0.125),
        version="celery 5.7.0",
        platform="Linux",
    )
    stats = {"total": {"a": 4, "b": 5, "c": None}, "uptime": 60, "clock": "7", "pid": 8}
    found = view(heard, stats=stats, active=[{}], registered=["a", 1], conf={"x_password": "y"})

    assert (found["status"], found["active"], found["processed"]) == ("online", 1, 9)
    assert found["heartbeat"] == {"at": "2026-11-21T03:59:58.500Z", "age_seconds": 1.5}
    assert found["started_at"] == "2026-11-21T03:59:00.000Z"
    assert (found["clock"], found["pid"], found["load"]) == (7, 8, [0.5, 0.25, 0.125])
    assert found["registered"] == ["a"]
    assert found["software"] == {"name": "celery", "version": "5.7.0", "platform": "Linux"}
    assert found["conf"] == {"x_password": "***"}
    assert found["answered"] == ["active", "conf", "registered", "stats"]


def test_an_error_is_no_answer() -> None:
    found = view(stats={"error": "KeyError('x')"}, conf={"error": "no"})

    assert (found["status"], found["answered"]) == ("online", [])
    assert (found["pool"], found["conf"], found["processed"]) == (None, None, None)


@pytest.mark.parametrize("number", [1e300, -1e300, inf, -inf, nan, 10**400, "9" * 5000])
def test_a_number_nobody_can_reckon_with_is_none(number: object) -> None:
    odd = {"rusage": {"utime": number, "maxrss": number}, "uptime": number, "clock": number}
    pool = {"timeouts": [number, number], "max-concurrency": number, "processes": [number]}
    found = view(stats={**odd, "pool": pool, "pid": number, "total": {"a": number}})

    assert (found["started_at"], found["clock"], found["pid"]) == (None, None, None)
    assert (found["rusage"], found["processed_by_task"]) == ({}, {})
    assert found["pool"] is not None
    assert {found["pool"][key] for key in ("soft_time_limit", "hard_time_limit")} == {None}
    assert (found["pool"]["max_concurrency"], found["pool"]["processes"]) == (None, [])


@given(said=st.dictionaries(st.sampled_from(METHODS), JUNK))
def test_whatever_a_worker_says_is_no_danger(said: dict[str, Any]) -> None:
    found = view(**said)

    assert found.keys() == get_type_hints(WorkerView).keys()
    json.dumps(found)
