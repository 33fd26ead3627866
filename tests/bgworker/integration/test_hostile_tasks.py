"""Tasks that want to do harm, on a worker with other work: each costs itself, nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed

StartWorker = Callable[..., Any]
Send = Callable[..., Any]
WaitUntil = Callable[..., object]
BEFORE, NAPS, AFTER = 70, 10, 20
"""How many other jobs a worker has before, while and after somebody does harm."""
CGROUPS = [path for path in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup") if os.access(path, os.W_OK)]


@pytest.fixture
def send(send_to: Send) -> Send:
    """Store a job of ``apps/hostile.py``."""
    return partial(send_to, "hostile")


@pytest.fixture
def busy(jobs: Any) -> Callable[[], Any]:
    """Other jobs before, while and after: all of them run once, uncharged."""

    @contextmanager
    def busy() -> Iterator[None]:
        others = jobs.add.map([(i, 1) for i in range(BEFORE)])
        others += jobs.nap.map([(0.02,)] * NAPS)
        yield
        others += jobs.add.map([(i, 1) for i in range(AFTER)])
        for handle in others:
            handle.result(20)
            record = jobs.bg.dispatcher.fetch(handle.id)
            assert (record.attempts, record.retries, record.crashes) == (1, 0, 0)

    return busy


def failure_of(handle: Any, seconds: float = 15) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        handle.result(seconds)
    return caught.value


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("abort", "killed by SIGABRT"),
        ("_exit", "exited with status 3"),
        ("kill", "killed by SIGKILL"),
        ("kill the group", "killed by SIGKILL"),
        ("close everything", "exited with status 1"),
    ],
)
def test_a_process_that_ends_is_a_crash_of_its_job(
    hostile: Any, send: Send, jobs: Any, busy: Callable[[], Any], how: str, words: str
) -> None:
    with busy():
        handle = send("ends_its_process", how)
        failure = failure_of(handle)
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert (failure.state, failure.kind) == ("dead", "Crashed")
    assert words in failure.detail
    assert "memory" not in failure.detail
    assert (record.attempts, record.retries, record.crashes) == (3, 0, 3)
    assert not hostile.events("child_lost")


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("sys.exit", "SystemExit"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("GeneratorExit", "GeneratorExit"),
        ("BaseException", "BaseException"),
    ],
)
def test_whatever_is_raised_is_a_failure_of_its_job(
    hostile: Any, send: Send, busy: Callable[[], Any], how: str, kind: str
) -> None:
    with busy():
        failure = failure_of(send("raises_anything", how))
    assert (failure.state, failure.kind) == ("failed", kind)
    assert not hostile.events("task_crash", "child_lost")


def test_a_task_at_the_end_of_its_address_space(
    hostile: Any, send: Send, busy: Callable[[], Any]
) -> None:
    with busy():
        failure = failure_of(send("exhausts_its_address_space"))
    assert (failure.state, failure.kind) == ("failed", "MemoryError")
    assert not hostile.events("task_crash", "child_lost")


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory cgroup of the test's own, of 256 MB; version 1 or 2."""
    group = Path(CGROUPS[0], f"bgworker-test-{os.getpid()}")
    group.mkdir()
    try:
        one = group / "memory.limit_in_bytes"
        limit = one if one.exists() else group / "memory.max"
        limit.write_text(str(256 * 1024 * 1024))
        yield group
    finally:
        group.rmdir()


@pytest.mark.parametrize("_", CGROUPS[:1])  # where we may make none there is nothing to test
def test_what_the_memory_killer_ends_is_recorded_as_such(
    memory_group: Path, worker: StartWorker, send: Send, jobs: Any, busy: Callable[[], Any], _: str
) -> None:
    enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    running = worker(app="hostile", launcher=["sh", "-c", enter, str(memory_group)])
    zygote = running.zygote()
    with busy():
        handle = send("takes_all_memory")
        failure = failure_of(handle, 60)
    assert (failure.state, failure.kind) == ("dead", "Crashed")
    assert failure.detail == "the process was killed by SIGKILL: out of memory"
    assert running.zygote() == zygote
    assert jobs.bg.dispatcher.fetch(handle.id).crashes == 3
    killed = failure_of(send("ends_its_process", "kill"))
    assert killed.detail == "the process was killed by SIGKILL"
    running.stop()


def test_children_are_to_go_before_their_supervisor(hostile: Any, send: Send) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    ours = score(hostile.pid)
    assert send("oom_score_adj").result(5) == min(1000, ours + 500)
    assert score(hostile.zygote()) == ours


@pytest.mark.parametrize("task", ["will_not_go", "keeps_the_interpreter_lock"])
def test_what_will_not_go_is_killed(
    hostile: Any, send: Send, busy: Callable[[], Any], task: str
) -> None:
    with busy():
        handle = send(task)
        failure = failure_of(handle)
    assert (failure.state, failure.kind) == ("failed", "HardTimeout")
    assert hostile.events("task_timeout", job_id=handle.id, kind="hard")
    assert not hostile.events("task_crash", "child_lost")


def test_a_hundred_megabytes_of_output_do_not_break_a_line_of_the_log(
    hostile: Any, send: Send, busy: Callable[[], Any]
) -> None:
    with busy():
        handles = [send("floods", 2, 50), send("floods", 1, 50), send("floods", 2, 50)]
        assert [handle.result(30) for handle in handles] == [50, 50, 50]
    hostile.stop()
    # Each line of the log could be read.
    assert len(hostile.events("task_success")) == 3 + BEFORE + NAPS + AFTER
    assert len(hostile.events("task_start")) == 3 + BEFORE + NAPS + AFTER
    assert hostile.events("worker_stop")


def test_closing_the_usual_descriptors_does_not_hurt(
    hostile: Any, send: Send, busy: Callable[[], Any]
) -> None:
    with busy():
        assert [send("closes_descriptors").result(10) for _ in range(3)] == ["closed"] * 3
    assert not hostile.events("task_crash", "child_lost")


GARBAGE = {
    "text": b"this is no report\n" * 10,
    "a huge length": b"\xff\xff\xff\xff",
    "a length to wait for": b"\x00\x00\x08\x00",
    "an empty frame": b"\x00\x00\x00\x00",
    "a single byte": b"\x07",
    "three bytes": b"\x01\x02\x00",
    "another's report": b"\x13\x00\x00\x001000000 1 ok 1 1\nnu",
    "a long noise": bytes(range(256)) * 200,
}


@pytest.mark.parametrize(
    ("garbage", "then"),
    [*((name, "return") for name in GARBAGE), ("text", "hang"), ("a huge length", "hang")],
)
def test_garbage_in_the_report_pipe_is_a_crash_of_its_job(
    hostile: Any, send: Send, jobs: Any, busy: Callable[[], Any], garbage: str, then: str
) -> None:
    with busy():
        handle = send("writes_into_every_descriptor", GARBAGE[garbage].hex(), then)
        failure = failure_of(handle)
    assert (failure.state, failure.kind) == ("dead", "Crashed")
    assert "wrote to a descriptor" in failure.detail
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert (record.attempts, record.crashes) == (3, 3)
    hostile.wait_for("task_dead", job_id=handle.id)  # the last line there is of it
    assert len(hostile.events("task_crash", job_id=handle.id)) == 3
    assert len(hostile.events("task_start", job_id=handle.id)) == 3, "no run of it is for free"
    assert hostile.process.poll() is None


def test_a_copy_that_returns_too_reports_nothing(
    hostile: Any, send: Send, busy: Callable[[], Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    copies = tmp_path / "copies"
    with busy():
        handles = [send("returns_twice", str(copies)) for _ in range(5)]
        assert [handle.result(10) for handle in handles] == ["original"] * 5
    pids = [int(line) for line in copies.read_text().splitlines()]
    assert len(pids) == 5
    wait_until(lambda: not any(map(hostile.is_running, pids)), seconds=2, why="copies are gone")
    for handle in handles:
        hostile.wait_for("task_success", job_id=handle.id)
        assert len(hostile.events("task_success", job_id=handle.id)) == 1


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("2 MiB", "ResultTooLarge"),
        ("an object", "NotJson"),
        ("a cycle", "NotJson"),
        ("NaN", "NotJson"),
    ],
)
def test_a_result_that_cannot_be_kept_fails_once(
    hostile: Any, send: Send, jobs: Any, busy: Callable[[], Any], what: str, kind: str
) -> None:
    with busy():
        handle = send("returns", what)
        failure = failure_of(handle)
    assert (failure.state, failure.kind) == ("failed", f"bgworker.errors.{kind}")
    assert jobs.bg.dispatcher.fetch(handle.id).attempts == 1
    assert not hostile.events("task_crash")


def test_large_results_are_kept(hostile: Any, send: Send, busy: Callable[[], Any]) -> None:
    with busy():
        handles = [send("returns", size) for size in ("200 kB", "900 kB") * 5]
        assert [len(handle.result(20)) for handle in handles] == [200_000, 900_000] * 5
    assert not hostile.events("task_crash")
