"""Whether the kernel's memory killer has struck among a worker's processes."""

from __future__ import annotations

from collections.abc import Iterator


class MemoryKills:
    """Watches the counter of kills of this process's memory cgroup, which its children share.

    Where that cannot be read, the counter of the whole machine.
    """

    def __init__(self, root: str = "") -> None:
        """``root`` stands before ``/proc`` and ``/sys``."""
        self._path = next((p for p in _counters(root) if _count(p) is not None), None)
        self._seen = self._now()

    def ran_out(self) -> bool:
        """Whether a process was killed for want of memory since the last time this was so."""
        now = self._now()
        grown, self._seen = now > self._seen, now
        return grown

    def _now(self) -> int:
        return (_count(self._path) or 0) if self._path else 0


def _counters(root: str) -> Iterator[str]:
    try:
        with open(f"{root}/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        entries = []
    for _, controllers, path in entries:
        if "memory" in controllers.split(","):
            yield f"{root}/sys/fs/cgroup/memory{path.rstrip('/')}/memory.oom_control"
        elif controllers == "":
            yield f"{root}/sys/fs/cgroup{path.rstrip('/')}/memory.events"
    yield f"{root}/proc/vmstat"


def _count(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    except (OSError, ValueError):
        pass
    return None
