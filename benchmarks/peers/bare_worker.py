"""The worker of ``bare_app``: one that claims and settles, and children that run the task.

It does what cannot be left out: what ended is stored and the next jobs are claimed in one
transaction, children are handed up to ``_AHEAD`` jobs, and a datagram wakes it.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

import bare_app

_AHEAD = 16
_CHUNK = 1 << 16
_SETTLE = "UPDATE job SET state = 2, result = ?, finished_at = ? WHERE id = ?"
_CLAIM = """
    UPDATE job SET state = 1, started_at = ?, attempts = attempts + 1
    WHERE id IN (SELECT id FROM job WHERE state = 0 ORDER BY priority, id LIMIT ?)
    RETURNING id, task, args
"""


class Child:
    """One process; ``holds`` is how many jobs it was sent and has not answered."""

    def __init__(self) -> None:
        self.link, theirs = socket.socketpair()
        self.holds = 0
        self._heard = b""
        if os.fork() == 0:
            self.link.close()
            _run(theirs)
        theirs.close()

    def fileno(self) -> int:
        """For ``select``."""
        return self.link.fileno()

    def send(self, jobs: list[tuple[int, str, str]]) -> None:
        """In one message."""
        self.holds += len(jobs)
        self.link.sendall("".join(f"{json.dumps(job)}\n" for job in jobs).encode())

    def receive(self) -> list[tuple[str, float, int]]:
        """What ended, as it is stored."""
        *lines, self._heard = (self._heard + self.link.recv(_CHUNK)).split(b"\n")
        self.holds -= len(lines)
        answers = [json.loads(line) for line in lines]
        return [(json.dumps(result), time.time(), job) for job, result in answers]


def _run(link: socket.socket) -> None:
    with link.makefile("rwb") as orders:
        for line in orders:
            job, task, args = json.loads(line)
            result = getattr(bare_app, task)(*json.loads(args))
            orders.write(f"{json.dumps([job, result])}\n".encode())
            orders.flush()
    os._exit(0)


def main(children: int) -> None:
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.bind(bare_app.BELL)
    crew = [Child() for _ in range(children)]
    ended: list[tuple[str, float, int]] = []
    while True:
        jobs = _exchange(ended, sum(_AHEAD - child.holds for child in crew))
        ended = []
        for child in crew:
            room = _AHEAD - child.holds
            if jobs[:room]:
                child.send(jobs[:room])
                jobs = jobs[room:]
        for ready in select.select([bell, *crew], [], [])[0]:
            if isinstance(ready, Child):
                ended += ready.receive()
            else:
                bell.recv(1)


def _exchange(ended: list[tuple[str, float, int]], want: int) -> list[tuple[int, str, str]]:
    db = bare_app.database()
    db.execute("BEGIN IMMEDIATE")
    db.executemany(_SETTLE, ended)
    jobs = db.execute(_CLAIM, (time.time(), want)).fetchall()
    db.execute("COMMIT")
    return jobs


if __name__ == "__main__":
    main(int(sys.argv[1]))
