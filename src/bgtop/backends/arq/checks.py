"""What workers reported of themselves.

arq has one health check for each queue, which its workers overwrite in turn, every hour unless told
otherwise. So there is one row for a queue, of the worker that wrote last, and neither its state
nor the time of its report is known: the text has a local time without a year or a zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.arq.wire import HEALTH, LONGEST_HEALTH, Health, health_in
from bgtop.backends.redis_link import pack
from bgtop.model import WorkerReading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_search import Command

SECONDS_THAT_ARE_OLD = 60
"""Reports that are renewed less often than that are said to be old."""


class Checks:
    """The health checks of a set of queues; per poll ``requests``, then ``absorb``."""

    def __init__(self) -> None:
        self._names: Sequence[bytes] = ()
        self._packed: list[Request] = []
        self._said: dict[bytes, Health] = {}
        self._longest_left = 0.0
        self._refusal: ReplyError | None = None

    def plan(self, names: Sequence[bytes]) -> None:
        """Read the checks of these queues from now on."""
        self._names = names
        commands: list[Command] = []
        for name in names:
            key = name + HEALTH
            commands += [("GETRANGE", key, 0, LONGEST_HEALTH - 1), ("PTTL", key)]
        self._packed = [pack(*commands)] if commands else []

    def requests(self) -> list[Request]:
        """What to ask; packed once per plan."""
        return self._packed

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        self._said, self._longest_left, self._refusal = {}, 0.0, None
        for name, check, left in zip(self._names, replies[::2], replies[1::2], strict=True):
            health = health_in(check)
            if isinstance(check, ReplyError):
                self._refusal = check
            # What does not expire was not written by arq.
            if health is not None and isinstance(left, int) and left >= 0:
                self._said[name] = health
                self._longest_left = max(self._longest_left, left / 1000)

    def workers(self, labels: Mapping[bytes, str]) -> tuple[WorkerReading, ...]:
        """One row for each queue with a report."""
        found = (
            WorkerReading(
                name=f"{labels[name]} (last report)",
                queues=(labels[name],),
                processed=health.complete + health.failed,
                failed=health.failed,
            )
            for name, health in self._said.items()
        )
        return tuple(sorted(found, key=lambda worker: worker.name))

    def warnings(self) -> Iterator[str]:
        """What may mislead in these rows."""
        if self._longest_left > SECONDS_THAT_ARE_OLD:
            minutes = round(self._longest_left / 60)
            yield (
                "a worker's counts are those of the last report for its queue, which may be old: "
                f"some are not renewed for another {minutes} min"
            )
        if self._refusal is not None:
            yield f"a health check cannot be read ({str(self._refusal).partition(' ')[0]})"
