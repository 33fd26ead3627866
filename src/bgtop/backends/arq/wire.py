"""arq's bytes in Redis, decoded. Nothing here trusts its input or raises; no pickle is read here.

Facts from arq 0.25–0.28 (``connections.py``, ``worker.py``, ``constants.py``) and live workers: a
queue is a sorted set of job ids, under the name the application gave it (``arq:queue`` unless it
gave one), scored by the millisecond from which a worker may take the job. A job stays in there
while it runs: ``arq:in-progress:<id>`` exists meanwhile, and until its timeout and ten seconds more
if its worker was killed. ``arq:job:<id>`` holds what is to be called. ``<queue>:health-check`` is
what the worker that wrote last says of itself; it expires a second after it should be renewed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

OURS = b"arq:"
ABORTS = b"arq:abort"
"""A sorted set of job ids as well, and no queue."""
JOB = b"arq:job:"
IN_PROGRESS = b"arq:in-progress:"
RETRY = b"arq:retry:"
RESULT = b"arq:result:"
HEALTH = b":health-check"

LONGEST_HEALTH = 256
"""Bytes of a health check that are read; arq writes about 80."""

_EARLIEST = 946_684_800_000
"""The year 2000 in milliseconds: a score below it is an order the application wants, no time."""
_LATEST = 2**43

_FIELD = re.compile(rb"\b(j_complete|j_failed|j_retried|j_ongoing|queued)=(\d{1,15})(?!\d)")


class Health(NamedTuple):
    """What a worker said of itself when it last reported; counted since it started."""

    complete: int
    failed: int


def health_in(value: object) -> Health | None:
    """Read a health check; ``None`` for anything arq did not write."""
    fields = dict(_FIELD.findall(value)) if isinstance(value, bytes) else {}
    if len(fields) != 5:
        return None
    return Health(int(fields[b"j_complete"]), int(fields[b"j_failed"]))


def score_in(value: object) -> float | None:
    """A score as Redis writes it; ``None`` for what is none."""
    try:
        return float(value) if isinstance(value, bytes) and len(value) < 64 else None
    except ValueError:
        return None


def is_time(score: float) -> bool:
    """Whether a score can be the millisecond a job was due."""
    return _EARLIEST < score < _LATEST
