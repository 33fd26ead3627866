"""Tasks that want to do harm to the worker, to other jobs, or to the machine."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import shared_memory

from jobs import bg
from notebook import note

from bgworker import Retry

__all__ = ["bg"]
_MEGABYTE = 1024 * 1024
_FAMILY = """
echo $$ >> "$0"
[ $1 = 0 ] || setsid sh -c "$2" "$0" $(($1 - 1)) "$2"
sleep 1000
"""


@bg.task(retry=Retry(max=3, delay=0.01, jitter=0))
def ends_its_process(how: str) -> None:
    if how == "segfault":
        ctypes.string_at(0)
    if how == "_exit":
        os._exit(3)
    if how == "abort":
        os.abort()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "kill the group":
        os.killpg(0, signal.SIGKILL)
    if how == "close everything":
        os.closerange(0, 8192)


@bg.task
def raises_anything(how: str) -> None:
    if how == "sys.exit":
        sys.exit(4)
    raise {
        "KeyboardInterrupt": KeyboardInterrupt,
        "GeneratorExit": GeneratorExit,
        "BaseException": BaseException,
    }[how]


@bg.task
def exhausts_its_address_space() -> int:
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (512 * _MEGABYTE, old[1]))
    try:
        return len(bytearray(1024 * _MEGABYTE))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


@bg.task(retry=Retry(delay=0.01, jitter=0))
def takes_all_memory() -> None:
    kept = []
    while True:
        kept.append(bytearray(os.urandom(_MEGABYTE)) * 8)


@bg.task(timeout=0.3, hard_timeout=0.6)
def will_not_go() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


@bg.task(hard_timeout=0.5)
def keeps_the_interpreter_lock() -> None:
    ctypes.PyDLL(None).sleep(60)


def lines_in(path: str) -> int:
    try:
        with open(path, encoding="utf-8") as file:
            return len(file.readlines())
    except FileNotFoundError:
        return 0


def daemon(path: str) -> None:
    """Double fork, new session: as detached as it gets."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note(path, str(os.getpid()))
            os.execvp("sleep", ["sleep", "1000"])
        os._exit(0)
    os.wait()


@bg.task(hard_timeout=30, retry=Retry(delay=0.01, jitter=0))
def leaves_processes(path: str, how: str, then: str = "return") -> str:
    if how == "daemon":
        daemon(path)
    if how == "children":
        for _ in range(100):
            note(path, str(subprocess.Popen(["sleep", "1000"]).pid))
    if how == "family":  # each in a session of its own, and below one another
        subprocess.Popen(["sh", "-c", _FAMILY, path, "5", _FAMILY], start_new_session=True)
    if how == "copy" and os.fork() == 0:
        os.setsid()
        note(path, str(os.getpid()))
        time.sleep(1000)
    wanted = {"daemon": 1, "children": 100, "family": 6, "copy": 1}[how]
    while lines_in(path) < wanted:
        time.sleep(0.005)
    if then == "raise":
        raise ValueError("left some")
    if then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if then == "stay":
        time.sleep(1000)
    return "left some"


@bg.task(hard_timeout=1)
def leaves_processes_and_hangs(path: str) -> None:
    daemon(path)
    time.sleep(1000)


@bg.task
def shares_memory() -> int:
    """Python starts a process for it, once, and needs it again."""
    memory = shared_memory.SharedMemory(create=True, size=16)
    memory.close()
    memory.unlink()
    tracker = multiprocessing.resource_tracker._resource_tracker  # type: ignore[attr-defined]
    pid: int = tracker._pid
    return pid


@bg.task
def floods(stream: int, megabytes: int) -> int:
    data = b"no line ends here " * (_MEGABYTE // 18)
    for _ in range(megabytes):
        left = memoryview(data)
        while left:
            left = left[os.write(stream, left) :]
    return megabytes


@bg.task
def closes_descriptors() -> str:
    os.closerange(0, 1024)
    return "closed"


@bg.task(retry=Retry(delay=0.01, jitter=0))
def writes_into_every_descriptor(data: str, then: str = "return") -> str:
    """What it was never given: also those above the numbers that programs usually close."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2:
            with contextlib.suppress(OSError):
                os.write(fd, bytes.fromhex(data))
    if then == "hang":
        time.sleep(1000)
    return "written"


@bg.task
def returns_twice(path: str) -> str:
    if os.fork() == 0:
        note(path, str(os.getpid()))
        return "copy"
    os.wait()
    return "original"


@bg.task
def returns(what: str) -> object:
    cycle: list[object] = []
    cycle.append(cycle)
    found: dict[str, object] = {
        "200 kB": "x" * 200_000,
        "900 kB": "x" * 900_000,
        "2 MiB": "x" * 2 * _MEGABYTE,
        "an object": object(),
        "a cycle": cycle,
        "NaN": float("nan"),
    }
    return found[what]


@bg.task
def oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())
