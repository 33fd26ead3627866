"""Run ``bgworker run --app web:bg`` and ``uvicorn web:app``, then ask for /words?text=a+rose."""

import os

from fastapi import FastAPI

from bgworker import BgWorker
from bgworker.contrib.fastapi import adelay, aresult, lifespan

bg = BgWorker(os.environ.get("BGWORKER_URL", "sqlite:///jobs.db"))
app = FastAPI(lifespan=lifespan(bg))


@bg.task(name="count_words")
async def count_words(text: str) -> str:
    """Count, in a worker."""
    return f"{len(text.split())} counted by FastAPI"


@app.get("/words")
async def words(text: str) -> dict[str, str]:
    """Store a job."""
    job = await adelay(count_words, text)
    return {"job": job.id}


@app.get("/job/{job_id}")
async def job(job_id: str) -> dict[str, str]:
    """Wait for its result."""
    return {"result": await aresult(bg.job(job_id), timeout=20)}
