"""Enqueue until so many jobs are acknowledged; what was acknowledged is on disk, line by line.

Arguments: the file of acknowledged ids, how many there shall be, how many jobs may wait, a seed.
Started again after a kill, it goes on from its file.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import time

import chaotic

TASKS = (
    chaotic.plain,
    chaotic.flaky,
    chaotic.keyed,
    chaotic.trio,
    chaotic.followed,
    chaotic.elsewhere,
)
WAITING = "SELECT coalesce(sum(n), 0) FROM bgworker_tally WHERE state IN ('queued', 'scheduled')"


def main(path: str, quota: int, backlog: int, seed: int) -> None:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    done = os.pread(file, os.fstat(file).st_size, 0).count(b"\n")
    chance = random.Random(seed + done)
    look = None
    while done < quota:
        ids = some_jobs(chance, quota - done)
        os.write(file, "".join(f"{id_}\n" for id_ in ids).encode())
        os.fsync(file)
        done += len(ids)
        look = look or sqlite3.connect("file:jobs.db?mode=ro", uri=True, timeout=30)
        while look.execute(WAITING).fetchone()[0] > backlog:
            time.sleep(0.01)


def some_jobs(chance: random.Random, at_most: int) -> list[str]:
    """One, or many at once; of any task, most of them soon to be done."""
    task = chance.choice(TASKS)
    key = chance.randrange(chaotic.KEYS)
    arguments = (key,) if task is chaotic.keyed else ()
    options = {chaotic.keyed: str(key), chaotic.trio: "all"}
    asked = task.options(
        priority=chance.randrange(10),
        countdown=chance.choice((None, None, None, 0.1)),
        concurrency_key=options.get(task),
    )
    if chance.random() < 0.9:
        return [asked.delay(*arguments).id]
    count = min(at_most, chance.randrange(2, 60))
    return [handle.id for handle in asked.map([arguments] * count)]


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
