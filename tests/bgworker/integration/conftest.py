"""Applications that only the worker imports: their jobs are stored by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bgworker.codec import dump_args
from bgworker.model import JobSpec


@pytest.fixture
def send_to(jobs: Any) -> Callable[..., Any]:
    """Store a job: ``send_to("hostile", "floods", 2, 50)`` is one of ``apps/hostile.py``."""

    def send_to(app: str, task: str, *args: object) -> Any:
        spec = JobSpec(task=f"{app}.{task}", args=dump_args(args, {}))
        (job,) = jobs.bg.dispatcher.enqueue([spec])
        return jobs.bg.job(job)

    return send_to


@pytest.fixture
def hostile(standing: Callable[..., Any]) -> Any:
    """A worker with two children that knows the tasks of ``apps/hostile.py``; for many tests."""
    return standing("--concurrency", "2", app="hostile")
