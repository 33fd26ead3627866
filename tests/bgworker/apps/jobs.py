"""The tasks that the integration tests run: good ones, bad ones, and some that want to do harm.

Hundreds of workers import this, each twice; so what few tasks need is imported by these.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from notebook import note, wait_for

from bgworker import BgWorker, JobFailed, Retry, SoftTimeout, current_job
from bgworker.errors import DiskFull, QueueUnavailable

bg = BgWorker()


@bg.task
def add(a: int, b: int) -> int:
    return a + b


@bg.task
def echo(value: object = None) -> object:
    return value


@bg.task
def record(path: str, text: str) -> None:
    note(path, text)


@bg.task(retry=Retry(delay=0.05))
def record_pid(path: str, text: str, seconds: float = 0.0) -> None:
    note(path, f"{text} {os.getpid()}")
    time.sleep(seconds)


@bg.task(queue="slow", priority=7)
def elsewhere() -> str:
    return "elsewhere"


@bg.task
async def later(a: int) -> int:
    import asyncio

    await asyncio.sleep(0.001)
    return a + 1


@bg.task(timeout=0.2)
async def later_for_ever() -> None:
    import asyncio

    await asyncio.sleep(60)


@bg.task
def enqueues(path: str, text: str) -> str:
    return record.delay(path, text).id


@bg.task
def nap(seconds: float, path: str = "") -> str:
    if path:
        note(path, f"begin {os.getpid()} {time.monotonic()}")
    time.sleep(seconds)
    if path:
        note(path, f"end {os.getpid()} {time.monotonic()}")
    return "rested"


@bg.task(retry=Retry(delay=0.05))
def waits(gate: str, path: str = "") -> str:
    """Runs until the test opens the gate."""
    if path:
        note(path, str(os.getpid()))
    wait_for(gate)
    return "rested"


@bg.task(retry=Retry(max=2, delay=0.1, backoff=2, jitter=0))
def fails_until(path: str, times: int) -> str:
    note(path, str(time.monotonic()))
    with open(path, encoding="utf-8") as file:
        tries = len(file.readlines())
    if tries <= times:
        raise ValueError(f"try {tries}")
    return f"try {tries}"


@bg.task(retry=Retry(max=3, delay=0.01, on=(OSError,)))
def picky(kind: str) -> None:
    raise {"OSError": OSError, "ValueError": ValueError}[kind]("as asked")


@bg.task(retry=Retry(max=1, delay=0.01, on=(QueueUnavailable, JobFailed)))
def relies_on_another(kind: str) -> None:
    raise {"full": DiskFull("no room"), "failed": JobFailed("failed", "kind", "detail")}[kind]


@bg.task(timeout=0.2)
def naps_too_long(path: str = "") -> str:
    try:
        time.sleep(60)
    except SoftTimeout:
        if path:
            note(path, "cleaned up")
        raise
    return "rested"


@bg.task(timeout=0.2)
def loops_for_ever() -> None:
    while True:
        pass


@bg.task(timeout=0.2)
def saves_itself() -> str:
    try:
        time.sleep(60)
    except SoftTimeout:
        return "in time"
    return "never"


@bg.task(timeout=0.1, hard_timeout=0.4)
def ignores_everything(path: str = "") -> None:
    if path:
        note(path, str(os.getpid()))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001 - it is what the test is about
            continue


@bg.task(hard_timeout=0.3, retry=Retry(max=2, delay=0))
def outlives_its_time(path: str) -> None:
    """Notes which of the earlier processes that it can know of live beside it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    job = current_job()
    mine = f"{path}.{job.id if job else 0}"
    note(mine, str(os.getpid()))
    with open(mine, encoding="utf-8") as file:
        earlier = [pid for pid in file.read().split() if pid != str(os.getpid())]
    alive = [pid for pid in earlier if os.path.exists(f"/proc/{pid}")]
    note(path, f"{os.getpid()} {'+'.join(alive) or 'alone'}")
    while True:
        time.sleep(60)


@bg.task(hard_timeout=0.5)
def holds_the_lock_of_python(path: str) -> None:
    import ctypes

    note(path, str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)  # PyDLL: the interpreter lock is kept during the call


@bg.task(timeout=0.2)
def takes_over_the_alarm() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


@bg.task
def leaves_an_alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


@bg.task(retry=Retry(max=5, delay=0.01, jitter=0))
def dies(how: str, status: int = 3) -> None:
    if how == "exit":
        os._exit(status)
    if how == "segfault":
        import ctypes

        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


@bg.task
def raises(how: str) -> None:
    if how == "sys.exit":
        sys.exit(4)
    if how == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if how == "GeneratorExit":
        raise GeneratorExit
    if how == "hostile":
        raise Hostile
    if how == "surrogate":
        raise ValueError("\ud800\x1b[31m\x00")
    if how == "deep":
        raises.function("deep")
    raise ValueError(how)


class Hostile(Exception):
    def __str__(self) -> str:
        raise SystemExit(5)


@bg.task
def big(size: int) -> str:
    return "x" * size


@bg.task
def not_json() -> object:
    return object()


@bg.task(retry=Retry(max=3, delay=0.01))
def not_json_with_retries() -> object:
    return {1, 2}


@bg.task
def garbage(stream: int, size: int) -> int:
    data = bytes(range(256)) * 256
    for _ in range(size // len(data)):
        left = memoryview(data)
        while left:
            left = left[os.write(stream, left) :]
    return size


@bg.task
def closes_descriptors(low: int, high: int, victim: str = "") -> str:
    os.closerange(low, high)
    if victim:  # files of the task now have the numbers of what was closed
        for _ in range(20):
            os.open(victim, os.O_RDWR | os.O_CREAT, 0o644)
    return "closed"


@bg.task(hard_timeout=0.5)
def spawns_and_hangs(path: str) -> None:
    import subprocess

    process = subprocess.Popen(["sleep", "300"])
    note(path, str(process.pid))
    process.wait()


@bg.task(retry=Retry(delay=0.01))
def spawns_and_dies(path: str) -> None:
    import subprocess

    process = subprocess.Popen(["sleep", "300"])
    note(path, str(process.pid))
    os.kill(os.getpid(), signal.SIGKILL)


@bg.task
def forks_and_forgets(path: str, how: str) -> str:
    pid = os.fork()
    if pid == 0:
        note(path, str(os.getpid()))
        if how == "raise":
            raise ValueError("in the copy")
        return "copy"
    os.waitpid(pid, 0)
    return "original"
