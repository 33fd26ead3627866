"""Tasks that take their time, and some that do not want to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from notebook import note

from bgworker import BgWorker, Retry

bg = BgWorker()


@bg.task
def nap(seconds: float, path: str = "", name: str = "") -> str:
    if path:
        note(path, name or str(os.getpid()))
    time.sleep(seconds)
    return "rested"


@bg.task
def spawns(path: str) -> None:
    process = subprocess.Popen(["sleep", "1000"])
    note(path, f"{os.getpid()} {process.pid}")
    process.wait()


@bg.task
def ignores_signals(path: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process = subprocess.Popen(["sleep", "1000"])
    note(path, f"{os.getpid()} {process.pid}")
    while True:
        try:
            process.wait()
        except BaseException:  # noqa: BLE001 - it is what the test is about
            continue


@bg.task(retry=Retry(max=1, delay=0.01, jitter=0))
def needs(path: str) -> str:
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    return "found"


@bg.task(retry=Retry(max=5, delay=3600, jitter=0))
def fails(path: str) -> None:
    note(path, "tried")
    raise ValueError("as always")
