"""Files that cannot be a queue: one clear line, exit code 1, and the file stays as it was."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bgworker import BgWorker, JobState
from bgworker.errors import UnusableDatabase

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, marked: Any) -> Run:
    """Run a command line to its end."""

    def command(
        *arguments: str, before: Sequence[str] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = marked.run(
            *(*before, sys.executable, "-m", "bgworker.cli", *arguments),
            cwd=tmp_path,
            seconds=20,
            **more,
        )
        return done

    return command


COMMANDS = [
    ("run", "--app", "jobs"),
    ("enqueue", "jobs.add", "--queue", "default"),
    ("stats",),
    ("inspect", "1"),
]
WITHOUT_PRIVILEGE = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
)
CLOSED = "/sys/jobs.db" if os.geteuid() == 0 else "closed/jobs.db"


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("bgworker: ")
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_file_that_is_no_database(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, today I was mistaken for a database. " * 100)
    before = path.read_bytes()
    line = one_line(run(*command, "--url", f"sqlite:///{path}"))
    assert str(path) in line
    assert "not a database" in line
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(("make", "what"), [(os.mkdir, "a directory"), (os.mkfifo, "no file")])
def test_something_else_instead_of_a_file(
    run: Run,
    tmp_path: Path,
    command: tuple[str, ...],
    make: Callable[[Path], None],
    what: str,
) -> None:
    """A directory; a pipe, for the other end of which SQLite would wait."""
    make(tmp_path / "jobs.db")
    line = one_line(run(*command, "--url", f"sqlite:///{tmp_path}/jobs.db"))
    assert f"{tmp_path}/jobs.db cannot be opened: it is {what}" in line
    assert os.listdir(tmp_path) == ["jobs.db"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_newer_schema_is_left_alone(
    run: Run, jobs: Any, tmp_path: Path, command: tuple[str, ...]
) -> None:
    jobs.add.delay(1, 1)
    jobs.bg.close()
    path = tmp_path / "jobs.db"
    db = sqlite3.connect(path)
    db.execute("INSERT INTO bgworker_migration VALUES (99, 0)")
    db.commit()
    db.close()
    line = one_line(run(*command, "--url", f"sqlite:///{path}"))
    assert "schema version 99" in line
    assert "upgrade bgworker" in line
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM bgworker_job").fetchone() == (1,)
    db.close()


def test_of_a_newer_schema_doctor_says_only_what_mends_it(
    run: Run, jobs: Any, tmp_path: Path
) -> None:
    jobs.add.delay(1, 1)
    jobs.bg.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db, db:
        db.execute("INSERT INTO bgworker_migration VALUES (99, 0)")

    done = run("doctor", "--url", f"sqlite:///{tmp_path}/jobs.db")

    assert done.returncode == 1
    assert "-> pip install -U bgtop" in done.stdout
    assert "salvage" not in done.stdout


@pytest.mark.parametrize("command", COMMANDS[1:3], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("place", "words"),
    [
        (CLOSED, CLOSED),
        ("/dev/null/jobs.db", "/dev/null/jobs.db"),
        ("closed/%00.db", "'sqlite:///closed/%00.db' names no file"),
    ],
)
def test_a_place_where_no_file_can_be(
    run: Run, tmp_path: Path, command: tuple[str, ...], place: str, words: str
) -> None:
    """A read-only directory (for root: one where even root may not write), below a file, a NUL."""
    (tmp_path / "closed").mkdir(mode=0o555)
    assert words in one_line(run(*command, "--url", f"sqlite:///{place}"))
    assert [path.name for path in tmp_path.rglob("*")] == ["closed"]


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_a_missing_folder_is_not_made(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    """It is rather a slip of the pen, or a disk that is not mounted."""
    line = one_line(run(*command, "--url", "sqlite:///missing/folder/jobs.db"))
    assert f"there is no directory {tmp_path}/missing/folder" in line
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
@pytest.mark.parametrize("closed", ["folder", "file", "lock"])
def test_what_may_not_be_written(
    run: Run, jobs: Any, tmp_path: Path, closed: str, command: tuple[str, ...]
) -> None:
    """By who is not root; root has to give up its privilege to write everywhere."""
    folder = tmp_path / "closed"
    folder.mkdir()
    jobs.bg.url = f"sqlite:///{folder}/jobs.db"
    if closed != "folder":
        jobs.add.delay(1, 1)
        jobs.bg.close()
    victim = {"folder": folder, "file": folder / "jobs.db", "lock": folder / "jobs.db.d"}[closed]
    if closed == "lock":
        (victim / "writer.lock").chmod(0o444)
    victim.chmod(0o555)
    began = time.monotonic()
    line = one_line(run(*command, "--url", jobs.bg.url, before=WITHOUT_PRIVILEGE))
    assert time.monotonic() - began < 10  # it does not wait for what does not come
    assert str(folder) in line
    victim.chmod(0o755)


@pytest.mark.parametrize("command", COMMANDS[2:], ids=lambda command: command[0])
def test_even_looking_needs_a_disk_that_can_be_written(
    run: Run, jobs: Any, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """For the index of the log, which SQLite makes there; it only says that it cannot open."""
    folder = tmp_path / "closed"
    folder.mkdir()
    jobs.bg.url = f"sqlite:///{folder}/jobs.db"
    jobs.add.delay(1, 1)
    jobs.bg.close()
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    read_only = ["unshare", "--mount", *user, "sh", "-c", mount, str(folder)]
    line = one_line(run(*command, "--url", jobs.bg.url, before=read_only))
    assert f"no permission to read and write it and its folder {folder}" in line


def test_a_job_that_is_not_stored_waits_nowhere(run: Run, jobs: Any, tmp_path: Path) -> None:
    """The command says what went wrong and not also where the job is."""
    jobs.add.delay(1, 1)
    jobs.bg.close()
    limit = ["prlimit", f"--fsize={(tmp_path / 'jobs.db').stat().st_size + 32_768}"]
    big = json.dumps(["x" * 120_000])
    told = one_line(run("enqueue", "unheard.of", "--args", big, "--url", jobs.bg.url, before=limit))
    assert "nothing was stored" in told


def test_a_log_without_its_database_is_kept(run: Run, jobs: Any, tmp_path: Path) -> None:
    """SQLite would begin anew, and delete the log with all the jobs that are only there."""
    jobs.add.delay(1, 1)
    log = (tmp_path / "jobs.db-wal").read_bytes()
    jobs.bg.close()
    (tmp_path / "jobs.db").write_bytes(b"")
    (tmp_path / "jobs.db-wal").write_bytes(log)
    for command in COMMANDS[:2]:
        line = one_line(run(*command, "--url", f"sqlite:///{tmp_path}/jobs.db"))
        assert "is empty but" in line
    assert (tmp_path / "jobs.db-wal").read_bytes() == log


@pytest.mark.parametrize("command", COMMANDS[2:], ids=lambda command: command[0])
def test_looking_creates_nothing(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    line = one_line(run(*command, "--url", "sqlite:///jobs.db"))
    assert "there is no file" in line
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (256, "cannot start 100 children: Too many open files"),
        (100, "cannot start the process that imports the application: too few files may be open"),
    ],
)
def test_more_children_than_descriptors_is_one_line(
    tmp_path: Path, marked: Any, limit: int, words: str
) -> None:
    """``ulimit -n`` is what has to be changed, and no traceback says so."""
    script = "import resource, runpy;"
    script += f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}));"
    script += "runpy.run_module('bgworker.cli', run_name='__main__')"
    arguments = ["run", "--app", "jobs", "--concurrency", "100", "--url", "sqlite:///jobs.db"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=False,
        cwd=tmp_path,
        env=marked.environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"bgworker: {words}")
    assert not marked.alive()


def test_somebody_elses_database_can_hold_the_queue_too(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE users (name TEXT)")
    db.execute("INSERT INTO users VALUES ('ada')")
    db.commit()
    line = one_line(run("stats", "--url", f"sqlite:///{path}"))
    assert "no bgworker queue" in line
    done = run("enqueue", "jobs.add", "--url", f"sqlite:///{path}", "--queue", "default")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert db.execute("SELECT name FROM users").fetchall() == [("ada",)]
    db.close()


def test_a_corrupted_page_is_an_error_and_no_crash(run: Run, jobs: Any, tmp_path: Path) -> None:
    jobs.echo.map([("x" * 3000,) for _ in range(50)])
    jobs.bg.close()
    path = tmp_path / "jobs.db"
    data = bytearray(path.read_bytes())
    assert len(data) > 100_000
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    for command in COMMANDS:
        line = one_line(run(*command, "--url", f"sqlite:///{path}"))
        assert "malformed" in line or "corrupt" in line


def test_a_network_file_system_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"1 1 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path} rw - nfs4 server:/export rw\n"
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(text)
    monkeypatch.setattr("bgworker.engines.sqlite.opening.MOUNTINFO", str(mountinfo))
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = BgWorker(url)
    with pytest.raises(UnusableDatabase) as caught:
        app.task(name="t")(int).delay()
    assert f"nfs4 at {tmp_path}" in str(caught.value)
    app.close()
    assert os.listdir(tmp_path) == ["mountinfo"]
    app = BgWorker(url, allow_network_fs=True)
    assert app.task(name="t")(int).delay().status is JobState.QUEUED
    app.close()
