"""The processes that tasks start: none of them outlives its job.

A process whose parent ends goes to the nearest ancestor that asked for orphans, whatever group or
session it moved to. Children, zygote and supervisor all ask: so what a task left behind is always
below the lowest of them that is still alive, as a child that this one did not start itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Container

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_HELPERS = (
    ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
)
_PAUSE = 0.0005  # seconds between two looks at who is still there


def die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it died before we asked


def live_on() -> None:
    """Take back :func:`die_with`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def adopt_orphans() -> None:
    """From now on, become the parent of every descendant that loses its own (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def has_children() -> bool:
    """Whether this process has any, dead ones included: one system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children(thread: int | None = None) -> list[int]:
    """The processes whose parent this one is now, of whichever of its threads, or of this one."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task") if thread is None else [thread]:
        with (
            contextlib.suppress(OSError),
            open(f"/proc/self/task/{task}/children", encoding="ascii") as file,
        ):
            found += map(int, file.read().split())
    return found


def kill_strangers(known: Container[int], thread: int | None = None) -> list[int]:
    """Kill all children but these; those that were killed. They are still to be reaped."""
    strangers = [pid for pid in children(thread) if pid not in known]
    for pid in strangers:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return strangers


def end_strangers(known: Container[int], patience: float = 1.0, thread: int | None = None) -> None:
    """Kill and reap all descendants but these and theirs, for at most ``patience`` seconds.

    The children of one that dies become ours: they are met in the next round. With ``thread`` only
    what that thread started itself.
    """
    deadline = time.monotonic() + patience
    while strangers := kill_strangers(known, thread):
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE)
        for pid in strangers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def helpers_of_python() -> set[int]:
    """What ``multiprocessing`` itself keeps running from one use to the next."""
    found = set()
    for module, holder, attribute in _HELPERS:
        if module in sys.modules:
            pid = getattr(getattr(sys.modules[module], holder, None), attribute, None)
            if pid is not None:
                found.add(pid)
    return found
