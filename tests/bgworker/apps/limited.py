"""Tasks with limits; each notes when it ran, on the clock all processes share."""

from __future__ import annotations

import os
import time

from bgworker import BgWorker, Retry

bg = BgWorker()


def span(path: str, name: str, seconds: float) -> None:
    """Note begin and end of a run, each in a line of its own."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, f"{name} {os.getpid()} begin {time.monotonic()}\n".encode())
    time.sleep(seconds)
    os.write(fd, f"{name} {os.getpid()} end {time.monotonic()}\n".encode())
    os.close(fd)


@bg.task(rate_limit="20/s")
def slow(path: str) -> None:
    span(path, "slow", 0.0)


@bg.task
def free(path: str) -> None:
    span(path, "free", 0.0)


@bg.task(concurrency=1, retry=Retry(max=5, delay=0.05))
def alone(path: str, key: str) -> None:
    span(path, key, 0.002)
