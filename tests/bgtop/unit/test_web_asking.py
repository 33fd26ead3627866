"""Questions to workers: equal ones are one, and no client waits for another's for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from threading import Event

import pytest

from bgtop.config import Config
from bgtop.contracts import BackendError, Interest
from bgtop.model import BackendInfo, Reading, Source
from bgtop.state.worker_views import EVERYTHING
from bgtop.web.asking import Asking, Question
from bgtop.web.grants import ANYBODY
from bgtop.web.hub import Hub
from bgtop.web.inspecting import views_of
from bgtop.web.live import Live

ALL = Question("here", None, ("stats",))


class Counting:
    """An inspector that counts what it is asked, and answers when it may."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str] | None] = []
        self.may = Event()
        self.fault: Exception | None = None

    def workers(
        self, what: Sequence[str], names: Sequence[str] | None, _: float
    ) -> Mapping[str, Mapping[str, object]]:
        self.asked.append(names)
        assert self.may.wait(10)
        if self.fault is not None:
            raise self.fault
        return {"w": {one: {"password": "hush", "pid": 3} for one in what} | {"x": {"error": "no"}}}

    def close(self) -> None:
        self.may.set()


def test_many_who_ask_the_same_ask_once() -> None:
    async def run() -> None:
        counting = Counting()
        asking = Asking({"here": lambda: counting}, "")
        everybody = [asyncio.ensure_future(asking.ask(ALL)) for _ in range(50)]
        await asyncio.sleep(0)
        everybody[0].cancel()
        counting.may.set()
        await asyncio.gather(*everybody[1:])
        assert len(counting.asked) == 1
        said = asking.said("here")["w"].facts
        assert set(said) == {"stats"}
        assert said["stats"]["pid"] == 3
        assert said["stats"]["password"] != "hush"
        await asking.ask(ALL)
        assert len(counting.asked) == 1, "it was answered a moment ago"
        asking.forget_freshness()
        await asking.ask(ALL)
        assert len(counting.asked) == 2
        asking.close()

    asyncio.run(run())


def test_too_much_is_refused_and_faults_are_told() -> None:
    async def run() -> None:
        counting = Counting()
        asking = Asking({"here": lambda: counting}, "")
        many = [
            asyncio.ensure_future(asking.ask(Question("here", f"w{i}", ("stats",))))
            for i in range(17)
        ]
        await asyncio.sleep(0)
        with pytest.raises(BackendError, match="too much"):
            await many[16]
        counting.fault = BackendError("down at redis://:secret@h/0")
        counting.may.set()
        told = await asyncio.gather(*many[:16], return_exceptions=True)
        assert all(isinstance(one, BackendError) for one in told)
        assert "secret" not in str(told[0])
        with pytest.raises(BackendError, match="cannot be asked"):
            await asking.ask(Question("elsewhere", None, ("stats",)))
        asking.close()

    asyncio.run(run())


class Talkative:
    """An inspector of many workers that say much."""

    def workers(
        self, what: Sequence[str], _names: Sequence[str] | None, _: float
    ) -> Mapping[str, Mapping[str, object]]:
        conf = {f"setting_{number}": f"value {number}" for number in range(150)}
        return {f"w{number}": {"conf": conf} for number in range(60)}

    def close(self) -> None:
        pass


def test_others_are_answered_while_the_answers_of_many_are_written_down() -> None:
    info = BackendInfo(system="celery", broker="redis", url="")
    source = Source(name="h", info=info, reading=Reading(taken_at=datetime.now(timezone.utc)))

    async def run() -> tuple[float, float]:
        live = Live((), Config(), report=print)
        live.inspectors[source.key] = Talkative
        hub = Hub(live, Interest(), control=False)
        await hub.asking.ask(Question(source.key, None, EVERYTHING))
        asked = asyncio.ensure_future(views_of(hub, ANYBODY, [source], None))
        began = last = time.monotonic()
        longest = 0.0
        while not asked.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        hub.asking.close()
        assert len(asked.result()) == 60
        return longest, last - began

    longest, whole = asyncio.run(run())
    assert longest < whole / 2
