"""Files that cannot be a queue: one clear line, exit code 1, and the file stays as it was."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, marked: Any) -> Run:
    """Run a command line to its end."""

    def command(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bgworker.cli", *arguments],
            check=False,
            cwd=tmp_path,
            env=marked.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            **more,
        )

    return command


COMMANDS = [
    ("run", "--app", "jobs"),
    ("enqueue", "jobs.add", "--queue", "default"),
    ("stats",),
    ("inspect", "1"),
]
PLACES = [
    "/sys/jobs.db" if os.geteuid() == 0 else "closed/jobs.db",
    "/dev/null/jobs.db",
    "closed/%00.db",
]


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


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_directory_instead_of_a_file(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "jobs.db").mkdir()
    line = one_line(run(*command, "--url", f"sqlite:///{tmp_path}/jobs.db"))
    assert f"{tmp_path}/jobs.db" in line


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


@pytest.mark.parametrize("command", COMMANDS[1:3], ids=lambda command: command[0])
@pytest.mark.parametrize("place", PLACES)
def test_a_place_where_no_file_can_be(
    run: Run, tmp_path: Path, command: tuple[str, ...], place: str
) -> None:
    """A read-only directory (for root: one where even root may not write), below a file, a NUL."""
    (tmp_path / "closed").mkdir(mode=0o555)
    one_line(run(*command, "--url", f"sqlite:///{place}"))


@pytest.mark.parametrize("command", COMMANDS[2:], ids=lambda command: command[0])
def test_looking_creates_nothing(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    line = one_line(run(*command, "--url", "sqlite:///jobs.db"))
    assert "there is no file" in line
    assert os.listdir(tmp_path) == []


def test_more_children_than_descriptors_is_one_line(tmp_path: Path, marked: Any) -> None:
    """``ulimit -n`` is what has to be changed, and no traceback says so."""
    script = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256));"
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
    assert lines == ["bgworker: cannot start 100 children: Too many open files"]
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
