"""What real celery-redbeat keeps in a real Redis is shown as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
import redis
from redis_server import RedisServer

from bgtop.backends.celery import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import Capability, ScheduleReading
from bgtop.testing import wait_until

ENTRIES = {
    "hourly": {"task": "add", "schedule": 3600.0, "args": [1, 2], "options": {"queue": "mail"}},
    "nightly": {"task": "note", "schedule": "30 3 * * 1-5"},
    "often": {"task": "add", "schedule": 1.0, "args": [1, 2], "options": {"queue": "mail"}},
}
CLEANUP = "celery.backend_cleanup"
"""Celery adds it by itself."""

pytestmark = pytest.mark.same_python


@pytest.fixture
def backend(redis_server: RedisServer) -> Iterator[Backend]:
    with closing(plugin.open("celery+" + redis_server.url, Settings())) as backend:
        yield backend


def shown(backend: Backend) -> dict[str, ScheduleReading]:
    schedules = backend.poll(Interest(schedules=True)).schedules
    return {one.name: one for one in schedules or ()}


def test_entries_of_a_running_beat(redis_server: RedisServer, celery, admin: redis.Redis) -> None:
    celery.start_beat(ENTRIES)
    wait_until(lambda: admin.zcard("redbeat::schedule") > len(ENTRIES), seconds=30)
    with closing(plugin.open("celery+" + redis_server.url, Settings())) as backend:
        wait_until(lambda: (one := shown(backend)["often"]) and one.last_at, seconds=30)
        entries = shown(backend)
        declared = backend.info.capabilities
        quiet = backend.poll(Interest()).schedules

    now = datetime.now(timezone.utc)
    assert quiet is None
    assert Capability.SCHEDULES in declared
    assert [*entries] == [CLEANUP, *sorted(ENTRIES)]
    assert entries.pop(CLEANUP).rule == "0 4 * * *"
    assert [entries[name].rule for name in entries] == ["every 3600s", "30 3 * * 1-5", "every 1s"]
    assert (entries["often"].task, entries["often"].queue) == ("add", "mail")
    assert entries["nightly"].queue is None
    assert all(one.enabled for one in entries.values())
    assert entries["often"].next_at is not None
    assert entries["often"].last_at is not None
    assert abs(entries["often"].next_at - now) < timedelta(minutes=1)
    assert abs(entries["often"].last_at - now) < timedelta(minutes=1)
    nightly = entries["nightly"].next_at
    assert nightly is not None
    # It leaves out the parts of a second.
    rounded = nightly + timedelta(seconds=2)
    assert (rounded.hour, rounded.minute) == (3, 30)


def test_another_prefix_is_named(redis_server: RedisServer, celery, admin: redis.Redis) -> None:
    celery.start_beat({"hourly": ENTRIES["hourly"]}, redbeat_key_prefix="shop:beat:")
    wait_until(lambda: admin.zcard("shop:beat::schedule") == 2, seconds=30)
    url = f"celery+{redis_server.url}?redbeat_key_prefix=shop:beat:"

    with closing(plugin.open(url, Settings())) as backend:
        assert Capability.SCHEDULES in backend.info.capabilities
        assert [*shown(backend)] == [CLEANUP, "hourly"]


def test_without_redbeat_nothing_is_claimed(backend: Backend) -> None:
    assert backend.poll(Interest(schedules=True)).schedules is None
    assert Capability.SCHEDULES not in backend.info.capabilities


def test_what_redbeat_would_not_write(backend: Backend, admin: redis.Redis) -> None:
    definitions = {
        "list": b"[]",
        "broken": b"{",
        "large": b"x" * 100_000,
        "odd": json.dumps(
            {
                "name": ["x"],
                "task": 7,
                "options": [],
                "enabled": "yes",
                "schedule": {"__type__": "rrule", "freq": 5},
            }
        ),
        "off": json.dumps({"name": "off", "enabled": False, "schedule": {"__type__": "interval"}}),
    }
    times = [
        {"__type__": "datetime", "year": 99999, "month": 1, "day": 1},
        {"__type__": "datetime", "year": "x", "month": 1, "day": 1, "timezone": "../../etc/passwd"},
        {"__type__": "datetime", "year": 2020, "month": 1, "day": 1, "timezone": 3600.0},
    ]
    for number, (name, definition) in enumerate(definitions.items()):
        meta = json.dumps({"last_run_at": times[number % 3]})
        admin.hset(f"redbeat:{name}", mapping={"definition": definition, "meta": meta})
    scores = dict(zip(definitions, (1.0, -1.0, float("inf"), 1e300, 5.0), strict=True))
    admin.zadd("redbeat::schedule", {f"redbeat:{name}": at for name, at in scores.items()})
    admin.set("redbeat:text", "no hash")
    admin.zadd("redbeat::schedule", {"redbeat:text": 3, "redbeat:gone": 4})

    entries = shown(backend)

    assert {*entries} == {*definitions, "text", "gone"}
    assert entries["odd"] == ScheduleReading(name="odd", rule="rrule")
    assert (entries["off"].enabled, entries["off"].next_at) == (False, None)
    assert entries["large"].last_at == datetime(2019, 12, 31, 23, tzinfo=timezone.utc)
    assert entries["list"].next_at == datetime.fromtimestamp(1, timezone.utc)


def test_a_key_of_another_kind(backend: Backend, admin: redis.Redis) -> None:
    admin.set("redbeat::schedule", "text")

    reading = backend.poll(Interest(schedules=True))

    assert reading.schedules is None
    assert any("did not read the schedule" in warning for warning in reading.warnings)
