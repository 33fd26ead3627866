"""What is typed: a clear line for every mistake, nothing stored by it, and JSON that parses."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker.cli import main
from bgworker.engines import open_engine
from bgworker.model import TaskPolicy, WorkerProfile
from bgworker.states import JobState

Cli = Callable[..., Any]


def jobs_in(path: Path) -> int:
    if not path.exists():
        return 0
    db = sqlite3.connect(path)
    try:
        count: int = db.execute("SELECT count(*) FROM bgworker_job").fetchone()[0]
        return count
    finally:
        db.close()


# Wrong usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["run"],
        ["run", "--app"],
        ["run", "--app", "x", "--concurrency", "0"],
        ["run", "--app", "x", "--concurrency", "-1"],
        ["run", "--app", "x", "--concurrency", "1.5"],
        ["run", "--app", "x", "--concurrency", "many"],
        ["run", "--app", "x", "--concurrency", "1025"],
        ["run", "--app", "x", "--concurrency", "9" * 5000],
        ["run", "--app", "x", "--grace", "-1"],
        ["run", "--app", "x", "--grace", "nan"],
        ["run", "--app", "x", "--grace", "inf"],
        ["run", "--app", "x", "--grace", "soon"],
        ["run", "--app", "x", "--queues", ""],
        ["run", "--app", "x", "--queues", " , ,"],
        ["run", "--app", "x", "--queues", "mail,\udcff"],
        ["run", "--app", "x", "--conc", "3"],
        ["enqueue"],
        ["enqueue", "t", "u"],
        ["enqueue", ""],
        ["enqueue", "\udcff"],
        ["enqueue", "t", "--queue", ""],
        ["enqueue", "t", "--queue", "\udcff"],
        ["enqueue", "t", "--args", ""],
        ["enqueue", "t", "--args", "1"],
        ["enqueue", "t", "--args", "{}"],
        ["enqueue", "t", "--args", "[1"],
        ["enqueue", "t", "--args", "['a']"],
        ["enqueue", "t", "--args", "[" * 100_000],
        ["enqueue", "t", "--args", f"[{'9' * 5000}]"],
        ["enqueue", "t", "--kwargs", "[]"],
        ["enqueue", "t", "--kwargs", "null"],
        ["enqueue", "t", "--kwargs", "a=1"],
        ["enqueue", "t", "--countdown", "nan"],
        ["enqueue", "t", "--countdown", "-1"],
        ["enqueue", "t", "--countdown", "1e300"],
        ["enqueue", "t", "--priority", "high"],
        ["enqueue", "t", "--priority", "1.5"],
        ["enqueue", "t", "--priority", "9" * 30],
        ["enqueue", "t", "--priority", str(2**63)],
        ["stats", "now"],
        ["inspect", "1", "2"],
    ],
    ids=lambda arguments: " ".join(arguments)[:50].encode("ascii", "replace").decode(),
)
def test_wrong_usage_is_explained_in_a_line(cli: Cli, tmp_path: Path, arguments: list[str]) -> None:
    said = cli(*arguments)
    lines = said.err.splitlines()

    assert said.code == 2
    assert said.out == ""
    assert lines[0].startswith("usage: bgworker")
    assert lines[-1].startswith("bgworker")
    assert ": error: " in lines[-1]
    assert lines[-1].isprintable()
    assert len(lines[-1]) < 400
    assert "_count" not in lines[-1]
    assert os.listdir(tmp_path) == [], "nothing was created, nothing stored"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "two"),
        ("CONCURRENCY", " "),
        ("RETENTION_DAYS", "soon"),
        ("RATE_LIMIT", "often"),
        ("MAX_RSS", "-1"),
        ("LOG", "xml"),
    ],
)
def test_a_bad_environment_is_explained_by_the_name_of_the_variable(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"BGWORKER_{variable}", value)
    said = cli("run", "--app", "no_such_module")
    assert said.code == 2
    assert f"$BGWORKER_{variable}: {value!r} " in said.err.splitlines()[-1]
    assert cli("enqueue", "t", "--queue", "q").code == 0, "other commands do not mind"


@pytest.mark.parametrize("variable", ["CONCURRENCY", "RETENTION_DAYS", "RATE_LIMIT", "LOG"])
def test_an_empty_variable_is_none(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(f"BGWORKER_{variable}", "")
    assert cli("run", "--app", "no_such_module").code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["enqueue", "t", "--args", "[NaN]"], "arguments must be JSON"),
        (["enqueue", "t", "--args", "[1e999]"], "arguments must be JSON"),
        (["enqueue", "t", "--args", f'["{"x" * 1_048_576}"]'], "over the cap"),
        (["enqueue", "t", "--url", "redis://h"], "names no queue"),
        (["stats", "--url", "redis://h"], "use sqlite:///"),
        (["stats", "--url", "sqlite:///missing.db"], "there is no file"),
        (["inspect", "--url", "sqlite:///missing.db"], "there is no file"),
        (["run", "--app", "no_such_module"], "there is no module 'no_such_module'"),
        (["run", "--app", "no.such.module"], "there is no module 'no'"),
        (["run", "--app", "json"], "one BgWorker is needed, found none"),
        (["run", "--app", "json:loads"], "json has no BgWorker named 'loads'"),
        (["run", "--app", "json:"], "one BgWorker is needed"),
        (["run", "--app", "json.py"], "there is no module 'json.py'"),
        (["run", "--app", ""], "--app"),
        (["run", "--app", ":bg"], "--app"),
        (["run", "--app", "."], "--app"),
        (["run", "--app", ".jobs"], "--app"),
        (["run", "--app", "a b\n\x1b[31m"], "there is no module"),
        (["run", "--app", "\udcff"], "there is no module"),
    ],
    ids=lambda value: (
        " ".join(value)[:40].encode("unicode_escape").decode() if isinstance(value, list) else ""
    ),
)
def test_what_fails_says_why_in_one_line(
    cli: Cli, tmp_path: Path, arguments: list[str], words: str
) -> None:
    said = cli(*arguments)

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("bgworker: ")
    assert said.err.count("\n") == 1, said.err
    assert said.err[:-1].isprintable()
    assert words in said.err
    assert not jobs_in(tmp_path / "bgworker.db")


def test_an_app_that_raises_shows_its_traceback(cli: Cli, tmp_path: Path) -> None:
    """Its author needs to see it; ours is not shown."""
    (tmp_path / "broken.py").write_text("import json\njson.loads('{')\n")
    said = cli("run", "--app", "broken")
    lines = said.err.splitlines()

    assert said.code == 1
    assert lines[-1] == "bgworker: --app broken cannot be imported"
    assert "JSONDecodeError" in lines[-2]
    assert "zygote" not in said.err
    assert not (tmp_path / "bgworker.db").exists()


@pytest.mark.parametrize(
    "body", ["import sys; sys.exit(3)", "import os; os._exit(3)", "raise KeyboardInterrupt"]
)
def test_an_app_that_ends_the_process_is_an_error(cli: Cli, tmp_path: Path, body: str) -> None:
    (tmp_path / "ending.py").write_text(body)
    said = cli("run", "--app", "ending")

    assert said.code == 1
    assert said.err.splitlines()[-1].startswith("bgworker: ")


def test_two_apps_in_a_module_must_be_told_apart(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(
        "from bgworker import BgWorker\none = BgWorker()\ntwo = BgWorker()\nsame = one\n"
    )
    said = cli("run", "--app", "two")

    assert said.code == 1
    assert (
        said.err == "bgworker: --app two: one BgWorker is needed, found same, two; use two:NAME\n"
    )


# Enqueuing


def test_a_job_is_stored_and_its_id_printed(cli: Cli, tmp_path: Path) -> None:
    said = cli("enqueue", "jobs.add", "--args", '[1, "é"]', "--kwargs", '{"b": [null]}')
    assert (said.code, said.out) == (0, "1\n")
    assert "no worker has declared 'jobs.add' yet" in said.err
    said = cli("enqueue", "jobs.add", "--json", "--queue", "q", "--priority", "-3")
    assert (said.code, said.json(), said.err) == (0, {"id": "2"}, "")

    first, second = (cli("inspect", id_, "--json").json() for id_ in ("1", "2"))
    assert (first["args"], first["kwargs"]) == ([1, "é"], {"b": [None]})
    assert (first["queue"], first["priority"], first["state"]) == ("default", 5, "queued")
    assert (second["queue"], second["priority"]) == ("q", -3)
    assert {path.name for path in tmp_path.iterdir()} >= {"bgworker.db", "bgworker.db.d"}


def test_a_countdown_is_kept(cli: Cli) -> None:
    assert cli("enqueue", "t", "--queue", "q", "--countdown", "3600").out == "1\n"
    assert cli("enqueue", "t", "--queue", "q", "--countdown", "0").out == "2\n"

    assert cli("inspect", "1", "--json").json()["state"] == "scheduled"
    assert cli("inspect", "2", "--json").json()["state"] == "queued"


def test_what_a_worker_declared_is_used(cli: Cli, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/bgworker.db")
    profile = WorkerProfile(name="w", host="h", pid=1, concurrency=1)
    engine.join(profile, [TaskPolicy(name="jobs.add", queue="sums", priority=2)])
    engine.close()
    said = cli("enqueue", "jobs.add")
    assert (said.code, said.out, said.err) == (0, "1\n", "")
    cli("enqueue", "jobs.add", "--queue", "other", "--priority", "9")

    first, second = (cli("inspect", id_, "--json").json() for id_ in ("1", "2"))
    assert (first["queue"], first["priority"]) == ("sums", 2)
    assert (second["queue"], second["priority"]) == ("other", 9)


def test_the_url_comes_from_option_or_environment(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BGWORKER_URL", "sqlite:///env.db")
    cli("enqueue", "t", "--queue", "q")
    cli("enqueue", "t", "--queue", "q", "--url", "sqlite:///option.db")

    assert (jobs_in(tmp_path / "env.db"), jobs_in(tmp_path / "option.db")) == (1, 1)


# Looking

HOSTILE = "\x1b[2J\x07\n\u202e\x9b31m"


def test_what_is_stored_cannot_move_the_cursor(cli: Cli) -> None:
    """Names and arguments come from whoever may enqueue."""
    assert cli("enqueue", HOSTILE, "--queue", HOSTILE, "--args", json.dumps([HOSTILE])).code == 0
    for arguments in (["inspect", "1"], ["stats"], ["inspect"]):
        said = cli(*arguments)
        assert said.code == 0
        assert all(line.isprintable() for line in said.out.split("\n")), arguments
    found = cli("inspect", "1", "--json").json()
    assert (found["task"], found["queue"], found["args"]) == (HOSTILE, HOSTILE, [HOSTILE])
    said = cli("enqueue", HOSTILE)
    assert said.err[:-1].isprintable()


def test_stats_have_every_state_and_parse(cli: Cli) -> None:
    cli("enqueue", "t", "--queue", "a")
    cli("enqueue", "t", "--queue", "b", "--countdown", "60")
    for arguments in (["stats", "--json"], ["inspect", "--json"]):
        found = cli(*arguments).json()
        keys = {state.value for state in JobState} | {
            f"{state.value}_total" for state in JobState if state.is_final
        }
        assert set(found) == {"states", "queues", "workers", "rescued", "stale_writes"}
        assert set(found["states"]) == keys
        assert {name: set(counts) for name, counts in found["queues"].items()} == {
            "a": keys | {"paused"},
            "b": keys | {"paused"},
        }
        assert found["queues"]["a"]["paused"] is False
        assert (found["states"]["queued"], found["states"]["scheduled"]) == (1, 1)
        assert (found["queues"]["a"]["queued"], found["queues"]["b"]["queued"]) == (1, 0)
    text = cli("stats").out
    assert text.startswith("QUEUE ")
    assert "\nWORKER " in text


def test_stats_of_an_empty_queue(cli: Cli, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/bgworker.db")
    engine.policy_of("x")
    engine.close()

    assert cli("stats", "--json").json()["queues"] == {}
    assert cli("stats").out.startswith("QUEUE ")


@pytest.mark.parametrize("job", ["7", "0", "-1", "abc", "", "1.0", "٣", "9" * 30, "9" * 5000])
def test_a_job_that_is_not_there(cli: Cli, job: str) -> None:
    cli("enqueue", "t", "--queue", "q")
    said = cli("inspect", "--json", "--", job)

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("bgworker: no job ")
    assert said.err.count("\n") == 1


# Where the output goes


def command(*arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "bgworker.cli", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=20,
        **more,
    )


@pytest.fixture
def full_queue(tmp_path: Path) -> str:
    """A queue with names from all over the world."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    for queue in ("post", "Büro", "ご注文"):
        assert main(["enqueue", "t", "--queue", queue, "--url", url]) == 0
    return url


@pytest.mark.parametrize(
    "arguments", [["stats"], ["inspect", "1"], ["stats", "--json"], ["--help"]]
)
def test_a_reader_that_goes_away_is_no_traceback(full_queue: str, arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    url = [] if arguments == ["--help"] else ["--url", full_queue]
    done = command(*arguments, *url, stdout=write)
    os.close(write)

    assert done.stderr == b""
    assert done.returncode in {0, 1}


def test_a_full_disk_is_one_line(full_queue: str) -> None:
    with open("/dev/full", "wb") as full:
        done = command("stats", "--url", full_queue, stdout=full)

    assert done.returncode == 1
    assert done.stderr == b"bgworker: cannot write the output: No space left on device\n"


def test_no_output_at_all_is_no_traceback(full_queue: str) -> None:
    """As under a service manager that gives no standard output."""
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "bgworker.cli"]
    done = subprocess.run(
        [*shell, "enqueue", "t", "--queue", "q", "--url", full_queue],
        check=False,
        stderr=subprocess.PIPE,
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_that_knows_ascii_only(full_queue: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = command("stats", "--url", full_queue, stdout=subprocess.PIPE, env=environment)

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"B\\xfcro" in done.stdout


def test_help_and_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("bgworker ")
    for arguments in (["--help"], ["run", "--help"], ["enqueue", "--help"], ["stats", "--help"]):
        said = cli(*arguments)
        assert said.code == 0
        assert said.out.startswith("usage: bgworker")
