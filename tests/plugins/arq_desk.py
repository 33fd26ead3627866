"""Enqueues with arq's own client what it reads from standard input, one JSON list a line.

It runs in the environment that has arq; the tests are in another one.
"""

from __future__ import annotations

import asyncio
import json
import sys

from arq import create_pool
from arq.connections import RedisSettings


async def main(url: str) -> None:
    pool = await create_pool(RedisSettings.from_dsn(url))
    for line in sys.stdin:
        task, arguments, queue, count, options = json.loads(line)
        for _ in range(count):
            assert await pool.enqueue_job(task, *arguments, _queue_name=queue, **options)
        print("done", flush=True)
    await pool.aclose()


asyncio.run(main(sys.argv[1]))
