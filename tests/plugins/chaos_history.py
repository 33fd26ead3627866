"""What became of the jobs of a chaotic day, by what tasks, workers and the file itself say."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Kill:
    """One blow: the role of what it hit, which worker that was, and when (seconds of UTC)."""

    role: str
    worker: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Figures, and everything that should not have happened. ``rescues`` are sorted seconds."""

    kills: list[Kill]
    acknowledged: int
    stored: int
    runs: int
    rescues: list[float]
    lost: list[str]
    unrun: list[str]
    overlaps: list[str]
    doubled: list[str]
    unfinished: list[str]
    miscounted: list[str]

    def faults(self) -> list[str]:
        """In words; none is what we want."""
        kinds = ("lost", "unrun", "overlaps", "doubled", "unfinished", "miscounted")
        return [f"{kind}: {case}" for kind in kinds for case in getattr(self, kind)]


class History:
    """The files in a folder after the last worker has stopped."""

    def __init__(self, folder: Path, acknowledged: Sequence[str], kills: list[Kill]) -> None:
        self.acknowledged = acknowledged
        self.kills = kills
        self.lines = [line.split() for line in read_lines(folder / "runs.log")]
        log = folder / "worker.log"
        self.began = {event["worker"]: _when(event) for event in events(log, "worker_start")}
        self.rescued = list(events(log, "rescued"))
        self.told = list(events(log, "task_success", "task_failed", "task_dead"))
        self.stale = {event["job_id"] for event in events(log, "stale_write")}
        with closing(sqlite3.connect(folder / "jobs.db")) as db:
            self.sound = db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            self.living = [str(id_) for (id_,) in db.execute("SELECT id FROM bgworker_job")]
            rows = db.execute("SELECT id, task, state FROM bgworker_history")
            self.ended = {str(id_): (str(task), str(state)) for id_, task, state in rows}
            self.tallies = _tallies(db)

    def judge(self) -> Verdict:
        """Compare all of them."""
        known = {*self.ended, *self.living}
        ran = {words[1] for words in self.lines if words[0] == "START"}
        dead = {id_ for id_, (_, state) in self.ended.items() if state == "dead"}
        return Verdict(
            kills=self.kills,
            acknowledged=len(self.acknowledged),
            stored=len(known),
            runs=sum(words[0] == "START" for words in self.lines),
            rescues=sorted(self._rescues()),
            lost=[id_ for id_ in self.acknowledged if id_ not in known],
            unrun=sorted(set(self.acknowledged) - ran - dead),
            overlaps=[*self._seen_overlaps(), *self._crossing_runs()],
            doubled=[*self._ended_again(), *self._followed_twice()],
            unfinished=self.living,
            miscounted=list(self._miscounted()),
        )

    def _seen_overlaps(self) -> Iterator[str]:
        """What the tasks themselves met."""
        return (" ".join(words[1:]) for words in self.lines if words[0] == "OVERLAP")

    def _crossing_runs(self) -> Iterator[str]:
        """Runs that came to their end, and inside which the same job began once more."""
        began: dict[tuple[str, str], int] = {}
        starts: dict[str, list[int]] = {}
        for what, *words in self.lines:
            if what == "START":
                job, _, pid, at = words
                began[job, pid] = int(at)
                starts.setdefault(job, []).append(int(at))
            elif what == "END":
                job, _, pid, at = words
                first = began[job, pid]
                if any(first < start < int(at) for start in starts[job]):
                    yield f"job {job} began again while {pid} ran it"

    def _ended_again(self) -> Iterator[str]:
        """Told twice may be only what its worker could not write down before it died."""
        excused = self.stale | {event["job_id"] for event in self.rescued}
        for job, n in Counter(event["job_id"] for event in self.told).items():
            if n > 1 and job not in excused:
                yield f"job {job} was told to have ended {n} times"

    def _followed_twice(self) -> Iterator[str]:
        """A callback is stored with the ending it follows: there is one for each, exactly."""
        tasks = Counter(task for task, state in self.ended.values() if state == "succeeded")
        callbacks = sum(task == "followed.on_success" for task, _ in self.ended.values())
        if callbacks != tasks["followed"]:
            yield f"{tasks['followed']} successes have {callbacks} callbacks"

    def _miscounted(self) -> Iterator[str]:
        if not self.sound:
            yield "the file is damaged"
        states = Counter(state for _, state in self.ended.values())
        for name, counts in self.tallies.items():
            if counts != states:
                yield f"{name} has {dict(counts)} where {dict(states)} are stored"
        if not states.keys() <= {"succeeded", "dead"}:
            yield f"nobody asked for {dict(states)}"

    def _rescues(self) -> Iterator[float]:
        """Seconds between the death of an owner and the moment each of its jobs was queued.

        Where all workers were dead, the first to start can only begin when it is there.
        """
        died = {kill.worker: kill.at for kill in self.kills if kill.role == "supervisor"}
        for event in self.rescued:
            if event["from"] in died:
                able = max(died[event["from"]], self.began[event["worker"]])
                yield max(0.0, _when(event) - able)


def _when(event: dict[str, Any]) -> float:
    """Seconds of UTC."""
    return datetime.fromisoformat(event["ts"].replace("Z", "+00:00")).timestamp()


def _tallies(db: sqlite3.Connection) -> dict[str, Counter[str]]:
    """What the file has counted: what is there now, and what has ever ended in each state."""
    now = db.execute("SELECT state, sum(n) FROM bgworker_tally WHERE n != 0 GROUP BY state")
    totals = db.execute(
        "SELECT sum(succeeded), sum(failed), sum(dead), sum(cancelled) FROM bgworker_queue"
    ).fetchone()
    ever = dict(zip(("succeeded", "failed", "dead", "cancelled"), totals, strict=True))
    return {
        "the tally": Counter(dict(now.fetchall())),
        "the total": Counter({state: n for state, n in ever.items() if n}),
    }


def ended(folder: Path) -> tuple[int, int]:
    """How many jobs have ended, and how many are alive; both are 0 before there is a file."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/jobs.db?mode=ro", uri=True)) as db:
            rows = dict(db.execute("SELECT state, sum(n) FROM bgworker_tally GROUP BY state"))
    except sqlite3.OperationalError:
        return 0, 0
    final = sum(rows.get(state, 0) for state in ("succeeded", "failed", "dead", "cancelled"))
    return final, sum(rows.values()) - final


def events(log: Path, *names: str) -> Iterator[dict[str, Any]]:
    """The lines of these events; the last line of a killed supervisor may be cut."""
    for line in log.read_bytes().splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") in names:
                yield event


def read_lines(path: Path) -> list[str]:
    """The whole lines of a file that may not be there."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def percentile(values: Sequence[float], percent: int) -> float:
    """Of sorted values; 0 when there are none."""
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else 0.0
