"""What real arq workers of the tests run; imported only where arq is installed."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from arq import Retry
from arq.connections import RedisSettings
from run_log import RunLog


async def add(ctx: dict, a: int, b: int) -> int:
    return a + b


async def fail(ctx: dict) -> None:
    raise ValueError("as asked for")


async def again(ctx: dict) -> None:
    """Never done: each try is put off for an hour."""
    raise Retry(defer=3600)


async def wait(ctx: dict, until: str) -> None:
    """Runs until the test makes this file; a minute is the end of any test."""
    deadline = time.monotonic() + 60
    while not Path(until).exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)


async def write(ctx: dict, *, file: str, word: str, seconds: float = 0) -> None:
    """Leaves a trace, and a second one if it comes to its end after that time."""
    with open(file, "a") as trace:
        trace.write(f"{word}\n")
    await asyncio.sleep(seconds)
    if seconds:
        with open(file, "a") as trace:
            trace.write(f"{word} ended\n")


async def noted(ctx: dict, *, folder: str, kind: str) -> None:
    """Note its runs in the folder's log; of the kind ``long`` it can be stopped."""
    log = RunLog(folder)
    if kind != "long":
        log.run(ctx["job_id"], kind)
        return
    log.note("begun", ctx["job_id"])
    await wait(ctx, str(log.gate))
    log.note("ended", ctx["job_id"])


class WorkerSettings:
    functions = (add, fail, again, wait, write, noted)
    allow_abort_jobs = bool(os.environ.get("TEST_ARQ_ABORTS"))
    redis_settings = RedisSettings.from_dsn(os.environ["TEST_ARQ_URL"])
    queue_name = os.environ["TEST_ARQ_QUEUE"]
    health_check_interval = float(os.environ["TEST_ARQ_REPORTS"])
    max_jobs = 2
    poll_delay = 0.1
