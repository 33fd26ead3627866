"""For FastAPI, Starlette and other asyncio servers: a flush to disk must not hold up the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ParamSpec, TypeVar

from bgworker.app import BgWorker, Task
from bgworker.handle import Handle

P = ParamSpec("P")
R = TypeVar("R")


def lifespan(bg: BgWorker) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """``FastAPI(lifespan=lifespan(bg))``: the queue is opened before the first request.

    So a file that cannot be used stops the server when it starts. It is closed at the end.
    """

    @asynccontextmanager
    async def span(_: object) -> AsyncIterator[None]:
        try:
            await asyncio.to_thread(_open, bg)
            yield
        finally:
            await asyncio.to_thread(bg.close)

    return span


async def adelay(task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
    """``task.delay(…)`` in a thread; raises the same."""
    return await asyncio.to_thread(task.delay, *args, **kwargs)


async def aresult(job: Handle[R], timeout: float | None = None) -> R:
    """``job.result(timeout)`` in a thread; raises the same. ``timeout`` is in seconds."""
    return await asyncio.to_thread(job.result, timeout)


def _open(bg: BgWorker) -> None:
    bg.dispatcher.policy_of("")  # any question will do
