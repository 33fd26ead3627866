"""Questions to workers: equal ones are one, and no client waits for another's for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from threading import Event

import pytest

from bgtop.contracts import BackendError
from bgtop.web.asking import Asking, Question

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
