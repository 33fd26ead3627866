"""Running a coroutine so that its soft timeout is raised where it waits.

What is raised while an event loop waits comes out of the loop, past the task: that would only see
that it is cancelled. So the loop is asked to cancel it, and the coroutine gets our exception in
place of the one asyncio has for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import Callable, Generator
from types import CoroutineType
from typing import Any

from bgworker.errors import SoftTimeout

_PATIENCE = 0.1
"""Seconds until a loop that has not looked around has something in it that computes."""


class TimeIsOver(SoftTimeout, asyncio.CancelledError):
    """A :class:`SoftTimeout` to the task, and a cancellation to all it passes on its way there.

    ``asyncio.TaskGroup`` and ``wait_for`` end what they have begun when they see one.
    """


class Awaiting:
    """One coroutine in an event loop of its own."""

    def __init__(self, coroutine: CoroutineType[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._computes = False
        self._asked = False
        self._heard = False
        self._due = False
        self._over = False

    def run(self) -> object:
        """What it returns. Raises what it raises, and :class:`SoftTimeout` if its time is over."""
        try:
            return asyncio.run(self._run())
        except TimeIsOver as error:
            raise SoftTimeout().with_traceback(error.__traceback__) from None

    def cancel(self) -> float | None:
        """From a signal handler or another thread: its time is over; in how long to call again.

        ``None`` if it computes: then an exception has to be raised where it does.
        """
        if self._heard:
            return math.inf
        waits = not self._computes and self._main is not None and not self._main.done()
        if self._asked or not (waits and self._call(self._cancel)):
            return None
        self._asked = True
        return _PATIENCE

    def wake(self) -> None:
        """From another thread: have the loop look around."""
        self._call(_nothing)

    def _call(self, function: Callable[[], object]) -> bool:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has been closed
                self._loop.call_soon_threadsafe(function)
                return True
        return False

    def _cancel(self) -> None:
        if self._main is not None:
            self._heard = self._due = self._main.cancel()

    async def _run(self) -> object:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        try:
            return await self
        except asyncio.CancelledError as error:
            if not (self._over or isinstance(error, TimeIsOver)):
                raise
            raise SoftTimeout().with_traceback(error.__traceback__) from None

    def __await__(self) -> Generator[Any, Any, object]:
        step: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            self._computes = True
            try:
                awaited = step(value)
            except StopIteration as end:
                return end.value
            finally:
                self._computes = False
            try:
                step, value = self._coroutine.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - it is for the coroutine
                step, value = self._coroutine.throw, self._in_our_words(error)

    def _in_our_words(self, error: BaseException) -> BaseException:
        if not isinstance(error, asyncio.CancelledError):
            return error
        self._over, self._due = self._due, False  # a later one has another reason
        if not self._over:
            return error
        if sys.version_info >= (3, 11) and self._main is not None:
            self._main.uncancel()  # what it does now is to be done
        return TimeIsOver()


def _nothing() -> None:
    """Wakes a loop."""
