"""How long tasks take here, and so how many jobs a child may be handed in advance. Pure."""

from __future__ import annotations

HORIZON = 0.004
"""Seconds of work that may wait inside a child: no more than one wake-up of delay for a job."""
DEPTH = 64
"""Jobs that may wait inside a child, however short they are."""
_WEIGHT = 0.1  # of the newest run in a running mean


class Pace:
    """Running means of the time a run takes: of each task, and of what this worker runs."""

    def __init__(self) -> None:
        self._tasks: dict[str, float] = {}
        self._mix: float | None = None

    def note(self, task: str, seconds: float) -> None:
        """A run took this long; a task that has become slow is known for it after a few runs."""
        self._tasks[task] = _blend(self._tasks.get(task), seconds)
        self._mix = _blend(self._mix, seconds)

    def of(self, task: str) -> float:
        """Seconds a run of this task is expected to take; a task never seen is slow."""
        return self._tasks.get(task, HORIZON)

    def depth(self) -> int:
        """Jobs one child should hold, the running one included, given the recent mix."""
        if self._mix is None:
            return 1
        return max(1, min(DEPTH, int(HORIZON / max(self._mix, 1e-6))))


def _blend(old: float | None, new: float) -> float:
    # A run that was only kept from its processor for a while must not make its task slow: so none
    # counts for more than what is slow already. Jobs that wait behind one are taken back anyway.
    new = min(new, HORIZON)
    return new if old is None else old + _WEIGHT * (new - old)
