"""What the conformance tests of Celery share, whatever its broker is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from bgtop.backends.celery import plugin
from bgtop.testing import BackendHooks

if TYPE_CHECKING:
    # Not imported: it may be in another Python, which has the Celery to test with.
    from celery_cluster import CeleryCluster


class CelerySource(BackendHooks):
    """Filled and consumed by ``celery``, which the test sets."""

    plugin = plugin
    system = "celery"
    celery: CeleryCluster

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.celery.put(queue, count, priority=priority)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.celery.holding(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        node = self.celery.start_worker("w1", *queues)
        yield node
        self.celery.stop(node)
