"""How long a child lives before a fresh one takes its place."""

from __future__ import annotations

import contextlib
import os

from bgworker.values import dataclass

RETIRED = 98
"""Exit status of a child that left between two jobs because its time was over."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Lifespan:
    """``max_jobs``, and ``max_rss`` in MiB: resident memory, as the kernel counts it."""

    max_jobs: int | None = None
    max_rss: int | None = None

    def is_over(self, jobs: int) -> bool:
        """Whether this process, after so many jobs, should make room for a fresh one."""
        return self.is_spent(jobs) or self.is_too_big()

    def is_spent(self, jobs: int) -> bool:
        """Whether it has had all the jobs it may have."""
        return self.max_jobs is not None and jobs >= self.max_jobs

    def is_too_big(self) -> bool:
        """Whether it holds more memory than it may."""
        return self.max_rss is not None and _resident() > self.max_rss * _MEGABYTE


def _resident() -> int:
    """Bytes of this process that are in memory."""
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE
    return 0
