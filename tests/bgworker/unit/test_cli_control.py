"""``failed``, ``dead``, ``retry``, ``cancel`` and ``purge`` as they are typed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bgworker.clock import ManualClock
from bgworker.codec import dump_error
from bgworker.contracts import Engine
from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import Dead, Ended, Ending, Failed, JobSpec, Succeeded, WorkerProfile
from bgworker.states import JobState

Cli = Callable[..., Any]
WaitUntil = Callable[..., Any]
ON_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it
from bgworker.cli import main
sys.exit(main())
"""
HOSTILE = "x\x1b[31m\n\u202e"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, cli: Cli) -> Iterator[Engine]:
    """The queue that a command without ``--url`` finds."""
    with closing(SqliteEngine(str(tmp_path / "bgworker.db"), clock=clock)) as found:
        yield found


def end(engine: Engine, clock: ManualClock, *jobs: tuple[Ending, JobSpec]) -> list[str]:
    """Jobs that ended so, a second after each other."""
    seat = engine.join(WorkerProfile(name="w", host="h", pid=1, concurrency=1), [])
    ids = []
    for ending, spec in jobs:
        (id_,) = engine.enqueue([spec])
        (claim,) = engine.exchange(seat, [], 1).claims
        clock.advance(1)
        engine.exchange(seat, [Ended(claim, ending, clock.now() - 500, clock.now())], 0)
        ids.append(id_)
    engine.leave(seat)
    return ids


def spec(task: str = "t", queue: str = "q", **more: Any) -> JobSpec:
    return JobSpec(task=task, queue=queue, **more)


def error(words: str) -> str:
    return dump_error("ValueError", words, "Traceback: …")


def state_of(engine: Engine, id_: str) -> JobState:
    return engine.fetch(id_).state  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["retry", "1", "--failed"],
        ["retry", "1", "--queue", "q"],
        ["retry", "1", "--task", "t"],
        ["retry", "--queue", "q"],
        ["retry", "--dead", "--queue", ""],
        ["cancel"],
        ["cancel", "--failed"],
        ["purge", "q"],
        ["purge", "--queue"],
        ["purge", "--queue", ""],
        ["failed", "1"],
        ["failed", "--limit", "0"],
        ["dead", "--limit", "-1"],
        ["dead", "--limit", "many"],
        ["dead", "--limit", "9" * 5000],
    ],
    ids=lambda arguments: " ".join(arguments)[:50],
)
def test_wrong_usage_is_explained_and_changes_nothing(
    cli: Cli, tmp_path: Path, arguments: list[str]
) -> None:
    said = cli(*arguments)

    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-1].startswith("bgworker")
    assert ": error: " in said.err.splitlines()[-1]
    assert len(said.err.splitlines()[-1]) < 400
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry", "1"],
        ["retry", "--failed"],
        ["cancel", "1"],
        ["purge", "--yes"],
        ["failed"],
        ["dead", "--json"],
    ],
    ids=" ".join,
)
def test_no_queue_is_made_to_change_what_it_holds(
    cli: Cli, tmp_path: Path, arguments: list[str]
) -> None:
    said = cli(*arguments)

    assert (said.code, said.out) == (1, "")
    assert said.err == f"bgworker: there is no file {tmp_path}/bgworker.db\n"
    assert os.listdir(tmp_path) == []
    said = cli(*arguments, "--url", "redis://h")
    assert (said.code, said.out) == (1, "")
    assert said.err.count("\n") == 1
    assert "use sqlite:///jobs.db" in said.err


def test_each_job_is_told_what_happened_to_it(cli: Cli, engine: Engine, clock: ManualClock) -> None:
    good, bad = end(engine, clock, (Succeeded("1"), spec()), (Failed(error("no")), spec()))
    waiting, running = engine.enqueue([spec(), spec()])
    seat = engine.join(WorkerProfile(name="w2", host="h", pid=1, concurrency=1), [])
    engine.cancel([waiting], "to have the other one claimed")
    engine.exchange(seat, [], 1)
    engine.retry([waiting])

    said = cli("cancel", waiting, running, good, bad, "99", "what")
    assert said.code == 1
    assert said.out.splitlines() == [
        f"job {waiting} is cancelled",
        f"job {running} is being stopped",
    ]
    assert said.err.splitlines() == [
        f"bgworker: job {good} has ended as succeeded already: there is nothing to cancel",
        f"bgworker: job {bad} has ended as failed already: there is nothing to cancel",
        "bgworker: job 99 is not stored here",
        "bgworker: job what is not stored here",
    ]
    assert cli("cancel", waiting).code == 0, "it is what was asked for"

    said = cli("retry", waiting, running, good, bad, "99")
    assert said.code == 1
    assert said.out.splitlines() == [
        f"job {waiting} is queued once more",
        f"job {bad} is queued once more",
    ]
    assert said.err.splitlines() == [
        f"bgworker: job {running} is running: cancel it first to run it anew",
        f"bgworker: job {good} has succeeded: enqueue it anew to run it again",
        "bgworker: job 99 is not stored here",
    ]
    said = cli("retry", bad)
    assert (said.code, said.err) == (1, f"bgworker: job {bad} is queued already\n")
    assert state_of(engine, bad) is JobState.QUEUED


def test_answers_in_json(cli: Cli, engine: Engine) -> None:
    (id_,) = engine.enqueue([spec()])
    said = cli("cancel", id_, "99", "--json")

    assert said.code == 1
    assert said.json() == {
        "jobs": [
            {"id": id_, "was": "queued", "done": True, "detail": "is cancelled"},
            {"id": "99", "was": None, "done": False, "detail": "is not stored here"},
        ]
    }
    (job,) = cli("retry", id_, "--json").json()["jobs"]
    assert (job["was"], job["done"]) == ("cancelled", True)


def test_lists_show_the_newest_first(cli: Cli, engine: Engine, clock: ManualClock) -> None:
    ids = end(
        engine,
        clock,
        (Failed(error("first")), spec("a", "x")),
        (Dead(error("dead")), spec("a", "x")),
        (Failed(error("second")), spec("b", "x")),
        (Succeeded("1"), spec("a", "x")),
        (Failed(error("third")), spec("a", "y")),
    )

    def listed(*arguments: str) -> list[str]:
        said = cli(*arguments, "--json")
        assert said.code == 0
        return [job["id"] for job in said.json()["jobs"]]

    assert listed("failed") == [ids[4], ids[2], ids[0]]
    assert listed("failed", "--limit", "2") == [ids[4], ids[2]]
    assert listed("failed", "--queue", "x") == [ids[2], ids[0]]
    assert listed("failed", "--task", "a") == [ids[4], ids[0]]
    assert listed("failed", "--task", "a", "--queue", "x") == [ids[0]]
    assert listed("failed", "--queue", "nobody's") == []
    assert listed("dead") == [ids[1]]
    (job,) = cli("dead", "--json").json()["jobs"]
    assert job == cli("inspect", ids[1], "--json").json()
    lines = cli("failed").out.splitlines()
    assert lines[0].split() == ["ID", "TASK", "QUEUE", "ENDED", "(UTC)", "TRIES", "ERROR"]
    assert [line.split()[0] for line in lines[1:]] == [ids[4], ids[2], ids[0]]
    assert lines[1].endswith("1      ValueError: third")


def test_all_that_failed_or_died_is_retried(cli: Cli, engine: Engine, clock: ManualClock) -> None:
    ids = end(
        engine,
        clock,
        *[(Failed(error("no")), spec("a", "x"))] * 3,
        (Failed(error("no")), spec("b", "x")),
        (Dead(error("no")), spec("a", "y")),
        (Dead(error("no")), spec("a", "x")),
    )
    engine.enqueue([spec("a", "z")])

    assert cli("retry", "--failed", "--queue", "nobody's").out == "0 jobs queued once more\n"
    assert cli("retry", "--failed", "--task", "a").out == "3 jobs queued once more\n"
    said = cli("retry", "--failed", "--dead", "--queue", "x", "--json")
    assert [job["id"] for job in said.json()["jobs"]] == [ids[3], ids[5]]
    assert (said.code, said.err) == (0, "")
    assert cli("retry", "--failed", "--dead").out == "1 job queued once more\n"
    assert {state_of(engine, id_) for id_ in ids} == {JobState.QUEUED}
    assert cli("stats", "--json").json()["states"]["queued"] == 7


def test_a_unique_job_is_not_retried_beside_its_twin(
    cli: Cli, engine: Engine, clock: ManualClock
) -> None:
    (old,) = end(engine, clock, (Failed(error("no")), spec(unique="k")))
    (twin,) = engine.enqueue([spec(unique="k")])
    words = (
        f"bgworker: job {old} may not come back: another job with its unique key is alive, "
        "or a job it comes after has not succeeded (retry that one too)\n"
    )

    assert twin != old
    said = cli("retry", old)
    assert (said.code, said.out, said.err) == (1, "", words)
    said = cli("retry", "--failed")
    assert (said.code, said.out, said.err) == (1, "0 jobs queued once more\n", words)
    assert state_of(engine, old) is JobState.FAILED


def test_thousands_are_retried(cli: Cli, engine: Engine) -> None:
    """In several transactions; the lists are as long as they are."""
    ids = engine.enqueue([spec()] * 1_201)
    seat = engine.join(WorkerProfile(name="w", host="h", pid=1, concurrency=1), [])
    claims = engine.exchange(seat, [], 2_000).claims
    engine.exchange(seat, [Ended(claim, Failed(error("no"))) for claim in claims], 0)

    assert len(cli("failed", "--json").json()["jobs"]) == 20
    assert cli("retry", "--failed").out == "1201 jobs queued once more\n"
    assert [claim.id for claim in engine.exchange(seat, [], 2_000).claims] == list(ids)


def test_what_is_stored_cannot_move_the_cursor(
    cli: Cli, engine: Engine, clock: ManualClock
) -> None:
    job = spec(HOSTILE, HOSTILE)
    (id_,) = end(engine, clock, (Failed(dump_error(HOSTILE, HOSTILE)), job))
    engine.enqueue([job])
    for arguments in (
        ["failed"],
        ["failed", "--queue", HOSTILE],
        ["cancel", HOSTILE],
        ["retry", HOSTILE],
        ["retry", id_],
        ["purge", "--queue", f"{HOSTILE}?"],
        ["purge", "--queue", HOSTILE, "--yes"],
    ):
        said = cli(*arguments)
        for line in (said.out + said.err).splitlines():
            assert line.isprintable(), (arguments, line)
        assert said.out + said.err


# Purging


def test_a_purge_without_a_terminal_needs_a_yes(cli: Cli, engine: Engine) -> None:
    ids = engine.enqueue([spec(queue="a"), spec(queue="b"), spec(queue="a", run_at=2**50)])

    said = cli("purge")
    assert (said.code, said.out) == (2, "")
    assert said.err.endswith("error: without a terminal to ask on, --yes is needed\n")
    assert JobState.CANCELLED not in {state_of(engine, id_) for id_ in ids}

    said = cli("purge", "--queue", "a", "--yes")
    assert (said.code, said.out, said.err) == (0, "2 jobs cancelled\n", "")
    assert [state_of(engine, id_).value for id_ in ids] == ["cancelled", "queued", "cancelled"]
    assert cli("purge", "--yes", "--json").json() == {"purged": 1}
    assert cli("purge").out == "0 jobs cancelled\n", "there is nothing to ask"
    assert json.loads(engine.fetch(ids[0]).error or "")["message"].endswith("all that waited")


def test_a_queue_that_is_not_there_is_not_purged(cli: Cli, engine: Engine, tmp_path: Path) -> None:
    (id_,) = engine.enqueue([spec(queue="mail")])
    said = cli("purge", "--queue", "mial", "--yes")

    assert (said.code, said.out) == (1, "")
    assert said.err == f"bgworker: there is no queue 'mial' in {tmp_path}/bgworker.db\n"
    assert state_of(engine, id_) is JobState.QUEUED


@pytest.mark.parametrize(
    ("answer", "code", "state"),
    [
        ("y\n", 0, "cancelled"),
        ("YES\n", 0, "cancelled"),
        ("\n", 1, "queued"),
        ("n\n", 1, "queued"),
        ("yep\n", 1, "queued"),
        ("\x04", 1, "queued"),
        ("\x03", 130, "queued"),
    ],
)
def test_a_purge_on_a_terminal_asks_with_object_count_and_file(
    engine: Engine, tmp_path: Path, wait_until: WaitUntil, answer: str, code: int, state: str
) -> None:
    (id_,) = engine.enqueue([spec(queue="mail")])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, "purge", "--queue", "mail"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""

    def asked() -> bool:
        nonlocal shown
        shown += os.read(ours, 4096)
        return b"[y/N]" in shown

    wait_until(asked, why="the question")
    question = f"Cancel 1 job waiting in the queue 'mail' of {tmp_path}/bgworker.db? [y/N] "
    assert shown.decode() == question

    def ended() -> bool:
        os.write(ours, answer.encode())
        # A Ctrl-C in the moment before the read waits for the next key, in any program of Python.
        return answer != "\x03" or process.poll() is not None

    wait_until(ended, why="its end")
    out, _ = process.communicate(timeout=10)
    os.close(ours)

    assert process.returncode == code
    assert state_of(engine, id_).value == state
    assert out == (b"1 job cancelled\n" if code == 0 else b"")
