"""Enqueues with arq's own client what it reads from standard input, one JSON list a line.

It runs in the environment that has arq; the tests are in another one. Importing arq is most of what
it does, so all tests of a process share one.
"""

from __future__ import annotations

import asyncio
import json
import sys

from arq import create_pool
from arq.connections import RedisSettings


async def main() -> None:
    for line in sys.stdin:
        url, task, arguments, queue, count, options = json.loads(line)
        pool = await create_pool(RedisSettings.from_dsn(url))
        for _ in range(count):
            assert await pool.enqueue_job(task, *arguments, _queue_name=queue, **options)
        await pool.aclose()
        print("done", flush=True)


asyncio.run(main())
