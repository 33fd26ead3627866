"""How fast bgworker is beside other queues: one run, interleaved rounds, medians.

``benchmarks/README.md`` says what is measured and how to read it. Nothing here passes or fails:
the exit code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import bars
import command_line
import machine
import queue_report
from command_line import progress
from queue_peers import missing, peers
from queue_report import JUDGED, Findings
from queue_site import Site, Void, site
from queue_subjects import CHILDREN, Subject, bare, ours

_FEWEST_JOBS = 20
_WARM_UP = 5  # jobs before the first latency sample and before idling
_SETTLE = 2.0  # seconds between the last job and idling
_STORED_WITHIN = 15.0  # seconds from the last start to the last result
_STALLED = 60.0  # seconds after which a drain is given up
_FLOOR_ROWS = 2_000
_FLOOR_FLUSHES = 300
_FLOOR_RESTED = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything; ``samples`` are latencies per round, ``idle`` is in seconds."""

    folder: str
    rounds: int
    jobs: int
    enqueues: int
    samples: int
    idle: float
    pause: tuple[float, float]
    """Seconds between two latency samples of a system that does not poll, drawn from here."""


@dataclass(slots=True)
class Run:
    """What is found as the run goes on."""

    plan: Plan
    subjects: list[Subject]
    found: dict[str, Findings]
    missing: dict[str, str]
    commits: list[float] = field(default_factory=list)
    flushes: list[float] = field(default_factory=list)
    rested: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    def note_machine(self) -> None:
        """The floor, and how busy the machine is with other things."""
        self.load.append(os.getloadavg()[0])
        self.commits.append(machine.commits_per_second(self.plan.folder, _FLOOR_ROWS))
        self.flushes.append(machine.fdatasync_ms(self.plan.folder, _FLOOR_FLUSHES))
        self.rested += machine.rested_commits_ms(self.plan.folder, _FLOOR_RESTED, self.plan.pause)

    def floor(self) -> dict[str, float]:
        """What the machine can do at best: medians, and how far a flush strays from its own."""
        return {
            "commits_per_second": statistics.median(self.commits),
            "fdatasync_ms": statistics.median(self.flushes),
            "rested_commit_p50_ms": statistics.median(self.rested),
            "rested_commit_p99_ms": queue_report.percentile(self.rested, 99) or 0.0,
        }


def drain(plan: Plan, subject: Subject, found: Findings) -> None:
    """One worker empties a queue that was filled before it started."""
    jobs = max(_FEWEST_JOBS, int(plan.jobs * subject.jobs))
    with site(subject, plan.folder, jobs) as here:
        here.drive("fill", jobs)
        with here.worker():
            here.stamps.wait(_STALLED)
            here.wait_stored(jobs, _STORED_WITHIN)
        found.drain.append((jobs - 1) / here.stamps.seconds())


def enqueue(plan: Plan, subject: Subject, found: Findings) -> None:
    """One call per job, then one call for all; no worker runs."""
    with site(subject, plan.folder, 1) as here:
        seconds = here.drive("one", plan.enqueues // 2, plan.enqueues)
        found.enqueue.append(plan.enqueues / seconds)
        seconds = here.drive("many", plan.jobs)
        if seconds is not None:
            found.bulk.append(plan.jobs / seconds)


def latency(plan: Plan, subject: Subject, found: Findings) -> None:
    """From the enqueue call to the task on an idle worker; then what the worker weighs."""
    samples = max(3, int(plan.samples * subject.samples))
    warm = _WARM_UP if subject.ours else 2
    with site(subject, plan.folder, warm + samples) as here, here.worker() as pid:
        found.latency.append(here.drive("latency", warm, samples, *(subject.pause or plan.pause)))
        members = machine.process_tree(pid)
        weight = machine.memory_mb(members)
        found.pss.append(weight["pss"])
        found.uss.append(weight["uss"])
        found.processes = len(members)


def idle(run: Run) -> None:
    """All workers idle beside each other, so that the same seconds count for all."""
    with contextlib.ExitStack() as stack:
        pids: dict[str, int] = {}
        for subject in run.subjects:
            with _noting(run.found[subject.name], "idle"):
                here: Site = stack.enter_context(site(subject, run.plan.folder, _WARM_UP))
                pids[subject.name] = stack.enter_context(here.worker())
                here.drive("fill", _WARM_UP)
                here.stamps.wait(_STALLED)
        time.sleep(_SETTLE)
        before = {name: machine.cpu_ns(machine.process_tree(pid)) for name, pid in pids.items()}
        began = time.monotonic()
        time.sleep(run.plan.idle)
        seconds = time.monotonic() - began
        for name, first in before.items():
            last = machine.cpu_ns(first)
            if pids[name] not in last:
                run.found[name].void.append("idle: the worker ended")
                continue
            used = sum(last[pid] - first[pid] for pid in last)
            run.found[name].idle_cpu = used / 1e9 / seconds * 100


@contextlib.contextmanager
def _noting(found: Findings, measure: str) -> Iterator[None]:
    """A measurement that fails is told and left out; the others go on."""
    try:
        yield
    except Void as why:
        found.void.append(f"{measure}: {why}")
    except Exception as error:  # whatever a peer does, the run goes on
        found.void.append(f"{measure}: {type(error).__name__}: {error}")


def measure(run: Run) -> None:
    """All rounds. Each measure visits all subjects, every round in another order."""
    steps: tuple[Callable[[Plan, Subject, Findings], None], ...] = (drain, enqueue, latency)
    for number in range(run.plan.rounds):
        turn = number % len(run.subjects)
        run.note_machine()
        for step in steps:
            for subject in run.subjects[turn:] + run.subjects[:turn]:
                progress(f"round {number + 1} of {run.plan.rounds}: {step.__name__} {subject.name}")
                with _noting(run.found[subject.name], step.__name__):
                    step(run.plan, subject, run.found[subject.name])
    progress(f"idle: all of them, {run.plan.idle:g} s")
    idle(run)
    run.note_machine()
    progress("")


def document(run: Run) -> dict[str, Any]:
    """Everything that was found; what ``--json`` writes."""
    return {
        "schema": 2,
        "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {**machine.describe(run.plan.folder), "load": run.load},
        "plan": {"rounds": run.plan.rounds, "jobs": run.plan.jobs, "children": CHILDREN},
        "floor": {
            **run.floor(),
            "rounds": {
                "commits_per_second": run.commits,
                "fdatasync_ms": run.flushes,
                "rested_commit_ms": run.rested,
            },
        },
        "subjects": queue_report.as_json(run.subjects, run.found),
        "missing": run.missing,
        "bars": _judged(run),
    }


def _judged(run: Run) -> list[dict[str, Any]]:
    return queue_report.bars(run.found)


def text(run: Run) -> str:
    """The same for people."""
    about, floor = machine.describe(run.plan.folder), run.floor()
    head = (
        f"{run.plan.rounds} rounds, {run.plan.jobs:,} jobs, {CHILDREN} children; "
        f"Python {about['python']}, SQLite {about['sqlite']}, {about['cpus']} CPUs, "
        f"{about['filesystem']}\n"
        f"load average {', '.join(f'{load:.2f}' for load in run.load)} (this run's own included)\n"
        f"floor: {floor['commits_per_second']:,.0f} flushed commits/s of one bare row; after a "
        f"pause one takes {floor['rested_commit_p50_ms']:.2f} ms (p99 "
        f"{floor['rested_commit_p99_ms']:.2f}); fdatasync {floor['fdatasync_ms']:.3f} ms"
    )
    parts = [head, queue_report.table(run.subjects, run.found, run.missing)]
    if JUDGED in run.found and len(run.found) > 1:
        parts.append(queue_report.ratios(run.subjects, run.found, floor))
    judged = _judged(run)
    for name in dict.fromkeys(bar["subject"] for bar in judged):
        of_it = [bar for bar in judged if bar["subject"] == name]
        parts.append(bars.lines(f"{name} against its bars", of_it))
    if about["filesystem"] in {"tmpfs", "ramfs"}:
        parts.append("this is no disk: what needs a flush looks faster than it is (see --dir)")
    return "\n\n".join(parts)


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """The whole run; prints it, and returns what ``--json`` writes."""
    known = ours() + bare() + ([] if args.only == ["ours"] else peers(args.peers))
    wanted = [s for s in known if not args.only or any(_is_meant(s, word) for word in args.only)]
    if not wanted:
        names = ", ".join(subject.name for subject in known)
        raise SystemExit(f"--only {','.join(args.only)}: there are ours, {names}")
    gone = {s.name: why for s in wanted if (why := missing(s)) is not None}
    subjects = [subject for subject in wanted if subject.name not in gone]
    run = Run(_plan(args), subjects, {subject.name: Findings() for subject in subjects}, gone)
    measure(run)
    command_line.tell(args.json, text(run))
    return document(run)


def _is_meant(subject: Subject, word: str) -> bool:
    if word == "ours":  # the bare queue says what can be had on this machine
        return subject.ours or subject.app == "bare_app"
    return subject.name.startswith(word)


def _plan(args: argparse.Namespace) -> Plan:
    return Plan(
        folder=os.path.abspath(args.dir),
        rounds=args.rounds or (1 if args.quick else 3),
        jobs=args.jobs or (5_000 if args.quick else 30_000),
        enqueues=500 if args.quick else 2_000,
        samples=50 if args.quick else 300,
        idle=args.idle or (3.0 if args.quick else 20.0),
        pause=(args.pause[0] / 1000, args.pause[1] / 1000),
    )


def options() -> argparse.ArgumentParser:
    """Of this comparison alone, to be a parent of a program's parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--peers", default=".venvs/bench", metavar="VENV", help="where the other systems are"
    )
    parser.add_argument(
        "--only",
        type=lambda words: words.split(","),
        metavar="NAME[,NAME]",
        help="those whose name begins so; ours: all of bgworker, no peer",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="(default: 3)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="jobs bgworker drains per round (default: 30000)"
    )
    parser.add_argument(
        "--pause",
        nargs=2,
        type=float,
        default=(20, 60),
        metavar=("LOW", "HIGH"),
        help="ms between two latency samples (default: 20 60)",
    )
    parser.add_argument("--idle", type=float, metavar="S", help="seconds of idling (default: 20)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    return command_line.run(__doc__, [options()], compare, argv)


if __name__ == "__main__":
    sys.exit(main())
