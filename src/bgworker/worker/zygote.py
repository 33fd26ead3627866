"""Imports the application once and forks children from there; holds no connection to anything.

It is a program of its own (``python -m bgworker.worker.zygote``) and not a fork of the supervisor:
so it never inherits the supervisor's database connection, and a killed one can be replaced.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from bgworker.app import BgWorker
from bgworker.engines import absolute
from bgworker.errors import BgWorkerError
from bgworker.locate import locate_app
from bgworker.retry import policy_to_json
from bgworker.scoreboard import Scoreboard
from bgworker.tracing import preload
from bgworker.values import asdict
from bgworker.worker.child import Child, leave, out_of_reach, settle_in
from bgworker.worker.frames import CHUNK, CONTROL_FD, receive_fds
from bgworker.worker.kin import (
    adopt_orphans,
    children,
    die_with,
    end_strangers,
    kill_strangers,
    live_on,
)
from bgworker.worker.lifespan import RETIRED, Lifespan


class Zygote:
    """Serves the supervisor's requests; every death of a child is reported with its status.

    The first request brings the scoreboard: holding it, this process and its children prove that
    the worker lives.
    """

    def __init__(self, control: socket.socket, app: BgWorker) -> None:
        self._control = control
        self._board: Scoreboard | None = None
        self._tasks = list(app.tasks.values())
        self._slots: dict[int, int] = {}
        self._lifespan: Lifespan | None = None
        self._pool = "process"
        self._of_the_app = frozenset(children())

    def serve(self) -> None:
        """Until the supervisor closes its end."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == wake_read:
                        os.read(wake_read, 4096)
                        self._reap()
                    elif not self._obey(selector):
                        return

    def _obey(self, selector: selectors.BaseSelector) -> bool:
        message, fds = receive_fds(self._control)
        if not message:
            return False
        request = json.loads(message)
        if "board" in request:
            self._board = Scoreboard(fds[0])
            self._lifespan = Lifespan(**request["lifespan"]) if request["lifespan"] else None
            self._pool = request["pool"]
        elif "kill" in request:
            self._kill(request["kill"])
        elif self._board is not None:
            self._fork(request["fork"], fds, self._board, selector)
        return True

    def _kill(self, pid: int) -> None:
        # Only we reap, so a pid in our table is that child and nobody else.
        if pid in self._slots:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not made its group yet, or is a zombie
                os.kill(pid, signal.SIGKILL)

    def _fork(
        self, slot: int, fds: list[int], board: Scoreboard, selector: selectors.BaseSelector
    ) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                die_with(parent)
                selector.close()
                self._control.close()
                settle_in()
                status = RETIRED if self._run_tasks(slot, fds, board) else 0
            except BaseException:  # noqa: BLE001 - nothing may unwind into the zygote's loop
                import traceback

                traceback.print_exc()
            finally:
                if status != 1:
                    leave(status)
                os._exit(status)
        for fd in fds:
            os.close(fd)
        self._slots[pid] = slot
        self._tell({"forked": pid, "slot": slot})

    def _run_tasks(self, slot: int, fds: list[int], board: Scoreboard) -> bool:
        """What the new process does; whether another one should follow it."""
        first = socket.socket(fileno=out_of_reach(fds[0]))
        if self._pool == "process":
            child = Child(self._tasks, first, out_of_reach(fds[1]), board, slot)
            return child.serve(self._lifespan)
        from bgworker.worker.threads import Threads

        return Threads(self._tasks, first, board, self._lifespan).serve()

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            slot = self._slots.get(pid)
            if slot is not None and self._died_in_a_run(slot):
                # It died in a run: what the task started must not meet the next run. The number of
                # the group is nobody else's as long as its dead leader is not reaped.
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
            kill_strangers({*self._slots, *self._of_the_app})  # what it left behind is ours now
            _, status = os.waitpid(pid, 0)
            if slot is not None:
                del self._slots[pid]
                self._tell({"exited": pid, "slot": slot, "status": status})

    def _died_in_a_run(self, slot: int) -> bool:
        if self._pool == "thread":
            return True  # perhaps: which slots were its own, only the supervisor knows
        return self._board is not None and self._board.slot(slot) is not None

    def _tell(self, message: Mapping[str, Any]) -> None:
        tell(self._control, message)


def tell(control: socket.socket, message: Mapping[str, Any]) -> None:
    """Send a message in as many parts as it needs; the last one is marked."""
    data = json.dumps(message).encode()
    parts = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
    for part in parts[:-1]:
        control.send(b"+" + part)
    control.send(b"." + parts[-1])


def _without_us(error: BaseException) -> str:
    """The traceback from the application's first frame on."""
    import traceback

    frames = error.__traceback__
    while frames and frames.tb_next:
        module = str(frames.tb_frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in {"__main__", "bgworker", "importlib"}:
            break
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _wake_up(_: int, __: FrameType | None) -> None:
    """The descriptor set by ``set_wakeup_fd`` is what wakes the loop."""


def main(spec: str, parent: int, url: str | None = None) -> int:
    """Import the app, describe its tasks, then fork on request."""
    here = os.getcwd()  # the application may go elsewhere, and so may each task
    die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _wake_up)  # stopping is the supervisor's business
    os.set_inheritable(CONTROL_FD, False)
    control = socket.socket(fileno=CONTROL_FD)
    try:
        app = locate_app(spec)
    except BgWorkerError as error:
        tell(control, {"failed": str(error)})
        return 2
    except BaseException as error:  # noqa: BLE001 - the application's own code
        tell(control, {"failed": f"--app {spec} cannot be imported", "why": _without_us(error)})
        return 2
    if url is not None:
        app.close()  # it may have used its own queue while it was imported
    app.url = absolute(url or app.url, here)
    policies = [policy_to_json(task.policy) for task in app.tasks.values()]
    queues = [asdict(queue) for queue in app.queues.values()]
    tell(control, {"url": app.url, "tasks": policies, "queues": queues})
    for stream in (sys.stdout, sys.stderr):  # or every child would write it once more
        with contextlib.suppress(Exception):
            stream.flush()
    preload(app)
    gc.collect()
    gc.freeze()  # keep the pages of what is imported shared with the children
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _serve(control, app)
    return 0


def _serve(control: socket.socket, app: BgWorker) -> None:
    """Until the supervisor is gone, however it went; then nothing that it started is left."""
    zygote = Zygote(control, app)
    adopt_orphans()
    live_on()  # the end of the control socket tells of its death too, and leaves time to clear up
    try:
        zygote.serve()
    finally:
        end_strangers(())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
