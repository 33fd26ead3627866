"""Values with many required fields, for tests that care about few of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bgworker.inspector import WorkerStats
from bgworker.model import Claim, JobId

_CLAIM = Claim(
    id=JobId("1"),
    number=1,
    task="t",
    queue="q",
    priority=5,
    args="[[],{}]",
    attempts=1,
    retries=0,
    crashes=0,
)
WORKER = WorkerStats(
    name="w",
    state="idle",
    host="h",
    pid=1,
    concurrency=1,
    queues=None,
    version="",
    started_at=0,
    last_heartbeat_at=None,
    processed=0,
    failed=0,
    current=(),
)


def claim(job: int = 1, **fields: Any) -> Claim:
    """The first claim of this job."""
    return replace(_CLAIM, id=JobId(str(job)), **fields)
