"""Coroutines whose time is over, wherever they are then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from jobs import bg
from notebook import note

from bgworker import SoftTimeout

__all__ = ["bg"]


async def nap() -> None:
    await asyncio.sleep(600)


async def many() -> None:
    await asyncio.gather(nap(), nap())


async def nested(log: str) -> None:
    """What it began is cancelled, whether it knows our exception or not."""

    async def begun() -> None:
        try:
            await nap()
        except asyncio.CancelledError:
            note(log, "cancelled")
            raise

    await asyncio.wait_for(begun(), 500)


async def in_turns() -> None:
    while True:
        await asyncio.sleep(0)


async def compute() -> None:
    while True:
        time.sleep(0.001)


async def behind_one_that_computes() -> None:
    await asyncio.create_task(compute())


@bg.task(timeout=0.2, hard_timeout=5)
async def saves_itself_in(how: str, log: str) -> str:
    ways: dict[str, Coroutine[Any, Any, None]] = {
        "a nap": nap(),
        "many": many(),
        "nested": nested(log),
        "turns": in_turns(),
        "computing": compute(),
        "another that computes": behind_one_that_computes(),
    }
    chosen = ways.pop(how)
    for other in ways.values():
        other.close()
    try:
        await chosen
    except SoftTimeout:
        await asyncio.wait_for(asyncio.sleep(0.01), 5)  # what it does now is not cancelled
        return "in time"
    return "too late"


@bg.task(timeout=0.1, hard_timeout=0.6)
async def holds_out() -> None:
    while True:
        try:
            await nap()
        except SoftTimeout:
            continue


@bg.task(timeout=5)
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await nap()
