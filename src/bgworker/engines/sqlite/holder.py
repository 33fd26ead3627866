"""Who holds a file lock that others wait for."""

from __future__ import annotations

import os

from bgworker.values import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock; a stopped one does not let go."""

    pid: int
    is_stopped: bool


def holder_of(path: str) -> Holder | None:
    """Who holds the lock of this file, as far as can be seen from this container."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            held = [line.split() for line in file if "FLOCK" in line and "->" not in line]
        for words in held:
            if words[5].rpartition(":")[2] == str(inode):
                pid = int(words[4])
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    state = file.read().rpartition(")")[2].split()[0]
                return Holder(pid, is_stopped=state in {"T", "t"})
    except (OSError, ValueError, IndexError):  # gone meanwhile, or of another container
        return None
    return None


def in_the_way(holder: Holder | None, path: str, seconds: float) -> str:
    """What to tell who has waited for this lock in vain, so long if it is not for a stopped one."""
    if holder is None:
        return f"another process has kept {path} locked for {seconds:g} s: nothing was stored"
    if not holder.is_stopped:
        return f"process {holder.pid} has kept {path} locked for {seconds:g} s: nothing was stored"
    return (
        f"process {holder.pid} is stopped and keeps {path} locked, nothing was stored: "
        f"let it go on with kill -CONT {holder.pid}, or end it"
    )
