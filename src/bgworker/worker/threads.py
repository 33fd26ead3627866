"""The process of a worker whose tasks run in threads.

Each lane is a thread with a socket and a pipe of its own, like a child process. The main thread
runs no task: it opens lanes, raises what ends tasks early, and sees to it that this process ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, copy_context
from math import ceil, inf
from types import CoroutineType
from typing import Any

from bgworker.app import Task
from bgworker.callbacks import JobRun
from bgworker.lock import Lock
from bgworker.running import set_host
from bgworker.scoreboard import Scoreboard
from bgworker.tracing import tracer_of
from bgworker.worker.child import Child, out_of_reach
from bgworker.worker.frames import Order, receive_fds, receive_order, unpack_order
from bgworker.worker.kin import end_strangers, helpers_of_python
from bgworker.worker.lifespan import Lifespan
from bgworker.worker.strike import STRIKES, Target
from bgworker.worker.voice import Voice

_VOICE: ContextVar[Voice | None] = ContextVar("voice", default=None)


class Threads:
    """Runs jobs in as many threads as the supervisor opens lanes."""

    def __init__(
        self,
        tasks: Sequence[Task[Any, Any]],
        control: socket.socket,
        board: Scoreboard,
        lifespan: Lifespan | None,
    ) -> None:
        self.tasks = tasks
        self._control = control
        self.board = board
        self._lifespan = lifespan or Lifespan()
        self._lanes: dict[int, Lane] = {}
        self._closing = False
        self._wake_read, self._wake_write = _signal_pipe()
        self._next_look = inf
        self.retired, self._retire = _signal_pipe()
        """The first is readable once this process takes no more jobs."""
        self._turn = Lock()
        self._begun = 0
        self._running = 0
        self._retiring = False
        self.tracer = tracer_of(tasks[0].app) if tasks else None

    def serve(self) -> bool:
        """Until every lane has ended; ``True`` when a fresh process should take this one's place.

        Lanes end when the supervisor closes them, or when the time of this process is over.
        """
        set_host(_Voices())
        poll = select.poll()  # and not epoll, which has a descriptor that a task may close
        for fd in (self._control.fileno(), self._wake_read):
            poll.register(fd, select.POLLIN)
        while True:
            self._part_with_ended()
            if not self._lanes and (self._closing or self._retiring):
                if self.tracer is not None:
                    self.tracer.flush()
                return self._retiring and not self._closing
            for fd, _ in poll.poll(self._patience()):
                if fd == self._wake_read:
                    os.read(fd, 4096)
                elif not self._obey():
                    self._closing = True
                    poll.unregister(fd)
            now = time.monotonic()
            for lane in self._lanes.values():
                lane.target.check_time(now)

    # --- for the lanes

    def take(self, lane: Lane) -> Order | None:
        """The job that waits in a lane, ``None`` if there is none.

        Raises:
            EOFError: the lane is to end.
        """
        with self._turn:
            if self._retiring:
                raise EOFError
            try:
                message, attached = receive_order(lane.orders, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not message:
                raise EOFError
            order = unpack_order(message, attached)
            lane.target.expect((order.id, order.number))
            self._begun += 1
            self._running += 1
            if self._lifespan.is_spent(self._begun):
                self._stop_taking()
            return order

    def end_processes(self) -> None:
        """What a job leaves behind: what its thread started; all, if no other job is running."""
        known = helpers_of_python()
        end_strangers(known, thread=threading.get_native_id())
        with self._turn:  # no job begins meanwhile
            if self._running == 1:
                end_strangers(known)

    def finish(self) -> None:
        """A job has ended and is reported."""
        with self._turn:
            self._running -= 1
            if not self._retiring and self._lifespan.is_too_big():
                self._stop_taking()

    def look_at(self, deadline: float) -> None:
        """Have the main thread look at the lanes at this time or before."""
        with self._turn:
            sooner = deadline < self._next_look
            self._next_look = min(deadline, self._next_look)
        if sooner:
            self.wake()

    def wake(self) -> None:
        """Have the main thread look around."""
        with contextlib.suppress(BlockingIOError):  # it is going to anyway
            os.write(self._wake_write, b"!")

    # --- the main thread

    def _stop_taking(self) -> None:
        self._retiring = True
        os.write(self._retire, b"!")  # nobody reads it: every lane is to see it
        self.wake()

    def _patience(self) -> int | None:
        """Milliseconds until a soft timeout is due."""
        with self._turn:
            due = [lane.target.deadline for lane in self._lanes.values()]
            self._next_look = min((at for at in due if at is not None), default=inf)
            left = self._next_look - time.monotonic()
        return None if left == inf else max(0, ceil(left * 1000))

    def _obey(self) -> bool:
        message, fds = receive_fds(self._control)
        word, *rest = message.decode().split(" ")
        if word == "open":
            self._open(int(rest[0]), *fds)
        elif word == "stop":
            with self._turn:  # a lane that has just read the job knows by now that it has
                for lane in self._lanes.values():
                    lane.target.stop((rest[0], int(rest[1])))
        return bool(message)

    def _open(self, slot: int, jobs: int, reports: int) -> None:
        orders = socket.socket(fileno=out_of_reach(jobs))
        lane = Lane(self, orders, out_of_reach(reports), slot)
        self._lanes[slot] = lane
        lane.thread.start()

    def _part_with_ended(self) -> None:
        for slot in [slot for slot, lane in self._lanes.items() if lane.ended]:
            self._lanes.pop(slot).close()
            with contextlib.suppress(BrokenPipeError):  # it does not wait for it
                self._control.send(f"left {slot}".encode())


class Lane(Child):
    """One thread, which runs one job after the other."""

    def __init__(
        self,
        process: Threads,
        orders: socket.socket,
        reports: int,
        slot: int,
    ) -> None:
        super().__init__(process.tasks, orders, reports, process.board, slot)
        self._tracer = process.tracer
        self._process = process
        self.orders = orders
        self.target = Target()
        self.ended = False
        self._poll = select.poll()
        for fd in (orders.fileno(), process.retired):
            self._poll.register(fd, select.POLLIN)
        self.thread = threading.Thread(target=self._work, name=f"bgworker-{slot}", daemon=True)

    def close(self) -> None:
        """Wait for the end of the thread, and let the supervisor see it."""
        self.thread.join()
        self.orders.close()
        os.close(self._reports)

    def _work(self) -> None:
        try:
            while (order := self._next()) is not None:
                # What a task sets there is not there for the next one.
                copy_context().run(self._run, order)
                self._process.finish()
        except BrokenPipeError:
            pass  # nobody is left to hear of it
        except BaseException:  # noqa: BLE001 - one lane less would never be noticed
            import traceback

            traceback.print_exc()
            os._exit(1)
        self.ended = True
        self._process.wake()

    def _next(self) -> Order | None:
        with contextlib.suppress(EOFError):
            while (order := self._process.take(self)) is None:
                self._poll.poll()
            return order
        return None

    def _run(self, order: Order) -> None:
        # A new voice for each run: what outlives its job in another thread has no word in the next.
        self._voice = Voice(self._tasks, self._reports)
        _VOICE.set(self._voice)
        super()._run(order)

    def _call(self, task: Task[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
        try:
            deadline = self.target.enter(task.policy.timeout)
            if deadline is not None:
                self._process.look_at(deadline)
            value = task.function(*args, **kwargs)
            return self._drive(value) if isinstance(value, CoroutineType) else value
        finally:
            self.target.inside = False
            try:
                self.target.leave()
            except STRIKES:  # as it began
                self.target.leave()

    def _drive(self, value: CoroutineType[Any, Any, Any]) -> object:
        from bgworker.worker.awaiting import Awaiting

        awaiting = Awaiting(value)
        self.target.awaits(awaiting)
        return awaiting.run()

    def _end_processes(self) -> None:
        self._process.end_processes()


class _Voices:
    """See :class:`bgworker.running.Host`: the calling thread's own."""

    def job(self) -> JobRun | None:
        voice = _VOICE.get()
        return None if voice is None else voice.job()

    def progress(self, n: float, total: float | None, text: str) -> None:
        voice = _VOICE.get()
        if voice is not None:
            voice.progress(n, total, text)


def _signal_pipe() -> tuple[int, int]:
    read, write = map(out_of_reach, os.pipe())
    os.set_blocking(write, False)
    return read, write
