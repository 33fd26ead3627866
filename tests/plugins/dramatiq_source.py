"""What the conformance tests of Dramatiq share, whatever its broker is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from bgtop.backends.dramatiq import plugin
from bgtop.testing import BackendHooks

if TYPE_CHECKING:
    # Not imported: it may be in another Python, which has the Dramatiq to test with.
    from dramatiq_cluster import DramatiqCluster


class DramatiqSource(BackendHooks):
    """Filled and consumed by ``dramatiq``, which the test sets."""

    plugin = plugin
    system = "dramatiq"
    dramatiq: DramatiqCluster

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.dramatiq.put(queue, count)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.dramatiq.holding(queue, count)

    def shown_as(self, worker: str) -> str:
        """The name the backend gives to this worker."""
        return worker

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        worker = self.dramatiq.start_worker(*queues)
        yield self.shown_as(worker)
        self.dramatiq.stop(worker)

    @contextmanager
    def telling_worker(self, *queues: str) -> Iterator[str]:
        worker = self.dramatiq.start_worker(*queues, agent=True)
        yield self.shown_as(worker)
        self.dramatiq.stop(worker)
