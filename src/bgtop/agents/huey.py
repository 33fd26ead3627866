"""The agent for Huey on Redis: what each consumer process does, for bgtop to see.

::

    from huey import RedisHuey
    from bgtop.agents.huey import attach

    huey = RedisHuey("mail")
    attach(huey)

Each consumer process keeps the hash ``bgtop:huey:<name>:<host>:<pid>``, which expires
:data:`SECONDS_TO_LIVE` seconds after it was last written, and its name in the sorted set
``bgtop:huey``. A thread of its own writes both: tasks never wait for it, and nothing that goes
wrong here reaches them.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
from typing import Any, Final

SECONDS_TO_LIVE: Final = 15
SECONDS_BETWEEN_BEATS: Final = 5.0
SECONDS_BETWEEN_NEWS: Final = 1.0
"""A task that begins or ends is told at once, but not more often than this."""

SECONDS_OF_MEMORY: Final = 3_600
"""How long the name of a process that was killed is kept."""

MOST_TASKS: Final = 50
MOST_COUNTED: Final = 100
"""Tasks that are counted one by one; all others are one more, called ``other``."""

LONGEST_NAME: Final = 200

_REGISTRY: Final = "bgtop:huey"
_FAILED: Final = frozenset({"error", "timeout"})
# Huey's signals that end a run. A task that raised RetryTask gives no other than "retrying".
_RUN: Final = _FAILED | {"complete", "canceled", "retrying"}
# A run that was refused by a lock or a limit, or cut off, was none.
_NOT_RUN: Final = frozenset({"locked", "rate-limited", "interrupted"})

_ENDS: Final = {
    "complete": "succeeded",
    "error": "failed",
    "timeout": "failed",
    "retrying": "retried",
    "canceled": "revoked",
}

_log = logging.getLogger("bgtop.agents.huey")


def attach(huey: Any) -> None:
    """Let the consumers of this ``Huey`` tell bgtop that they live, and what they run.

    Outside a consumer it does nothing; in one whose tasks are not in Redis it says so in the log.
    """
    agent = _Agent(huey)
    huey.on_startup(name="bgtop")(agent.enter)
    # Huey 2.0 has no such hook: a consumer that stops is off the list when its hash expires.
    if hasattr(huey, "on_shutdown"):
        huey.on_shutdown(name="bgtop")(agent.leave)
    huey.signal()(agent.hear)


class _Process:
    """What is known of one consumer process. Changed by its workers, read by its herald."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.started = time.time()
        self.workers = 0
        self.processed = 0
        self.failed = 0
        self.counts: dict[str, dict[str, int]] = {}
        self.running: dict[str, tuple[str, float]] = {}
        self.lock = threading.Lock()
        self.news = threading.Event()
        self.over = threading.Event()
        self.herald: threading.Thread | None = None

    def begin(self, task: str, name: str) -> None:
        with self.lock:
            self.running[task] = (name[:LONGEST_NAME], time.time())
        self.news.set()

    def end(self, task: str, signal: str) -> None:
        with self.lock:
            # The first signal counts: an error may be followed by "retrying".
            ran = self.running.pop(task, None)
            if ran is None:
                return
            self._count(ran[0], signal)
            self.processed += signal in _RUN
            self.failed += signal in _FAILED
        self.news.set()

    def _count(self, name: str, signal: str) -> None:
        how = _ENDS.get(signal)
        if how is None:
            return
        if name not in self.counts and len(self.counts) >= MOST_COUNTED:
            name = "other"
        counts = self.counts.setdefault(name, dict.fromkeys(_ENDS.values(), 0))
        counts[how] += 1

    def fields(self, queue: str) -> dict[str, object]:
        with self.lock:
            counts = [[name, queue, how] for name, how in self.counts.items()]
            current = [[task, name, at] for task, (name, at) in self.running.items()][:MOST_TASKS]
            return {
                "pid": self.pid,
                "started": self.started,
                "concurrency": self.workers,
                "running": len(self.running),
                "processed": self.processed,
                "failed": self.failed,
                "current": json.dumps(current),
                "counts": json.dumps(counts),
            }


class _Agent:
    """Listens to Huey's hooks and signals, in whichever process they happen."""

    def __init__(self, huey: Any) -> None:
        self._huey = huey
        self._process: _Process | None = None
        self._lock = threading.Lock()

    def enter(self) -> None:
        """One worker of this process has started; Huey calls it in each thread or process."""
        storage = self._huey.storage
        if not hasattr(storage, "queue_key"):
            _log.warning("bgtop sees Huey's consumers on Redis only: %s", type(storage).__name__)
            return
        with self._lock:
            process = self._process
            if process is None or process.pid != os.getpid():
                # After a fork nothing of the parent's holds here, its thread least of all.
                process = self._process = _Process(os.getpid())
                process.herald = threading.Thread(
                    target=_Herald(storage, process).tell, name="bgtop", daemon=True
                )
                process.herald.start()
            process.workers += 1

    def leave(self) -> None:
        """One worker of this process ends; the last one takes the process off the list."""
        with self._lock:
            process = self._here()
            if process is None:
                return
            process.workers -= 1
            if process.workers > 0:
                return
            self._process = None
        process.over.set()
        process.news.set()
        if process.herald is not None:
            process.herald.join(2.0)

    def hear(self, signal: str, task: Any, *_: object) -> None:
        """Huey emits this in producers too, where there is no process to tell of."""
        process = self._here()
        if process is None:
            return
        if signal == "executing":
            process.begin(str(task.id), str(task.name))
        elif signal in _RUN or signal in _NOT_RUN:
            process.end(str(task.id), signal)

    def _here(self) -> _Process | None:
        process = self._process
        return process if process is not None and process.pid == os.getpid() else None


class _Herald:
    """Writes what is known of a process, in a thread of its own, until the process is over."""

    def __init__(self, storage: Any, process: _Process) -> None:
        self._storage = storage
        self._process = process
        self._host = socket.gethostname()
        self._member = f"{storage.name}:{self._host}:{process.pid}"
        self._key = f"{_REGISTRY}:{self._member}"
        self._version = f"huey {getattr(sys.modules.get('huey'), '__version__', '?')}"
        self._failing = False

    def tell(self) -> None:
        """The thread's whole life."""
        process = self._process
        while not process.over.is_set():
            process.news.clear()
            self._write(self._beat())
            if not process.over.wait(SECONDS_BETWEEN_NEWS):
                process.news.wait(SECONDS_BETWEEN_BEATS - SECONDS_BETWEEN_NEWS)
        self._write([("DEL", self._key), ("ZREM", _REGISTRY, self._member)])

    def _beat(self) -> list[tuple[object, ...]]:
        now = time.time()
        fields = {
            "queue": self._storage.name,
            "host": self._host,
            "ttl": SECONDS_TO_LIVE,
            "beat": now,
            "version": self._version,
            **self._process.fields(self._storage.name),
        }
        words = [word for pair in fields.items() for word in pair]
        return [
            ("HSET", self._key, *words),
            ("EXPIRE", self._key, SECONDS_TO_LIVE),
            ("ZADD", _REGISTRY, now, self._member),
            ("ZREMRANGEBYSCORE", _REGISTRY, "-inf", now - SECONDS_OF_MEMORY),
            ("EXPIRE", _REGISTRY, SECONDS_OF_MEMORY),
        ]

    def _write(self, commands: list[tuple[object, ...]]) -> None:
        """All at once or not at all; a failure is logged once, and tried again at the next beat."""
        try:
            # Spelt out, because Huey runs on many versions of redis-py.
            pipeline = self._storage.conn.pipeline(transaction=True)
            for command in commands:
                pipeline.execute_command(*command)
            pipeline.execute()
        except Exception as error:  # noqa: BLE001  # whatever it is, tasks go on
            if not self._failing:
                _log.warning("bgtop's agent cannot write: %s", error)
            self._failing = True
        else:
            self._failing = False
