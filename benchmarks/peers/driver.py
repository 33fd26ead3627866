"""Enqueues in one system's own interpreter: ``driver.py APP VERB [NUMBER…]`` prints one JSON value.

Only the standard library, so that it runs beside any of them.
    fill N                  store N jobs the fastest way there is, untimed
    one W N                 W jobs to warm up, then N with one call each: seconds those took
    many N                  one job to warm up, then N in one call: seconds it took, or null
    latency W N LOW HIGH    after W jobs to warm up, one job at a time, each LOW to HIGH seconds
                            after the last one began: N times ms from the call to the task
    stored                  how many results there are, or null if none are kept
    prepare                 whatever there has to be before the first job
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from typing import Any

from stamps import stamped

_PATIENCE = 30.0  # seconds for one job to begin
_LOOK = 0.001  # s; how often we look does not enter the figures: the task stamps its own start


def fill(app: Any, jobs: int) -> None:
    if app.enqueue_all is not None:
        app.enqueue_all(range(jobs))
    else:
        for number in range(jobs):
            app.enqueue(number)


def one(app: Any, warm: int, jobs: int) -> float:
    enqueue = app.enqueue
    for number in range(warm):
        enqueue(number)
    began = time.perf_counter()
    for number in range(jobs):
        enqueue(number)
    return time.perf_counter() - began


def many(app: Any, jobs: int) -> float | None:
    if app.enqueue_all is None:
        return None
    app.enqueue_all(range(1))
    began = time.perf_counter()
    app.enqueue_all(range(jobs))
    return time.perf_counter() - began


def latency(app: Any, warm: int, samples: int, low: float, high: float) -> list[float]:
    chance = random.Random(1)  # the same pauses in every run
    found = []
    for number in range(warm + samples):
        called = time.monotonic_ns()
        app.enqueue(number)
        deadline = time.monotonic() + _PATIENCE
        while not stamped(number):
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {number} did not begin within {_PATIENCE:g} s")
            time.sleep(_LOOK)
        found.append((stamped(number) - called) / 1e6)
        pause = chance.uniform(low, high) - (time.monotonic_ns() - stamped(number)) / 1e9
        time.sleep(max(0.0, pause))
    return found[warm:]


def main(name: str, verb: str, *numbers: str) -> None:
    app = importlib.import_module(name)
    if verb == "latency":
        warm, samples, low, high = numbers
        value: object = latency(app, int(warm), int(samples), float(low), float(high))
    elif verb in {"stored", "prepare"}:
        value = getattr(app, verb)()
    else:
        value = {"fill": fill, "one": one, "many": many}[verb](app, *map(int, numbers))
    print(json.dumps(value))


if __name__ == "__main__":
    main(*sys.argv[1:])
