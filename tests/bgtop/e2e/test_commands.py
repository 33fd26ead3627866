"""The commands without a terminal: what they print, where, and how they exit."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_source import BGTOP, Script

import bgtop

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_snapshot_as_text(run: Run, script: Script) -> None:
    for arguments in ((), ("snapshot",), ("snapshot", "--format", "text")):
        done = run(*arguments, script.url)

        lines = done.stdout.splitlines()
        assert (done.returncode, done.stderr) == (0, "")
        assert lines[0].startswith("Queues 2  Depth 2")
        heads = [line.split()[0] for line in lines if line.startswith(("QUEUE", "WORKER"))]
        assert heads == ["QUEUE", "WORKER"]
        assert "\x1b" not in done.stdout


def test_snapshot_as_json(run: Run, script: Script) -> None:
    done = run("snapshot", script.url, "--format", "json")

    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert [queue["name"] for queue in document["queues"]] == ["mail", "push"]
    assert document["sources"][0]["url"].startswith("scripted://:***@")


def test_snapshot_as_csv(run: Run, script: Script) -> None:
    done = run("snapshot", script.url, "--format", "csv")

    queues, workers = done.stdout.split("\n\n")
    assert [row["name"] for row in csv.DictReader(io.StringIO(queues))] == ["mail", "push"]
    assert [row["state"] for row in csv.DictReader(io.StringIO(workers))] == ["idle"]


def test_two_samples_give_rates(run: Run, script: Script) -> None:
    queue = {"name": "mail", "depth": 1, "entered_total": 5, "left_total": 5}
    script.write(queues=[queue])

    once = json.loads(run("snapshot", script.url, "--format", "json").stdout)
    arguments = ("--samples", "2", "--interval", "0.1")
    twice = json.loads(run("snapshot", script.url, "--format", "json", *arguments).stdout)

    assert once["queues"][0]["in_per_second"] is None
    assert twice["queues"][0]["in_per_second"] == 0.0


def test_filters_and_limits(run: Run, script: Script) -> None:
    script.queues("mail", "mail.bulk", "push", "web")

    def names(*arguments: str) -> list[str]:
        done = run("snapshot", script.url, "--format", "json", *arguments)
        return [queue["name"] for queue in json.loads(done.stdout)["queues"]]

    assert names("--queue-filter", "^mail") == ["mail", "mail.bulk"]
    assert names("--queue-filter", "!mail") == ["push", "web"]
    assert names("--max-queues", "1") == ["mail"]


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_a_source_that_fails_is_one_line_and_status_one(
    form: str, run: Run, script: Script
) -> None:
    script.write(fail="connection refused by h:6379")

    done = run("snapshot", script.url, "--format", form)

    assert (done.returncode, done.stderr) == (1, "bgtop: connection refused by h:6379\n")
    if form == "json":
        [source] = json.loads(done.stdout)["sources"]
        assert source["error"] == "connection refused by h:6379"
    if form == "text":
        assert done.stdout == ""


def test_of_several_sources_those_that_work_are_shown(run: Run, script: Script) -> None:
    other = Script(script.path.with_name("other.json"))
    other.write(fail="not there")

    done = run("snapshot", script.url, other.url)

    assert (done.returncode, done.stderr) == (1, "bgtop: other.json: not there\n")
    assert "mail" in done.stdout
    # Nobody reads it again, so nothing is said of when.
    assert "down: other.json: not there\n" in done.stdout


def test_a_fault_of_a_backend_is_one_line_unless_asked_for_more(run: Run, script: Script) -> None:
    script.write(crash="a bug")

    short, long = run("snapshot", script.url), run("snapshot", script.url, "--verbose")

    line = "bgtop: fault in the backend: ZeroDivisionError: a bug\n"
    assert (short.returncode, short.stderr) == (1, line)
    assert long.stderr.startswith(line + "Traceback")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-"], "'-' is neither a URL, nor a profile"),
        (["--nonsense"], "unrecognized arguments: --nonsense (see bgtop --help)"),
        (["--interval"], "argument --interval: expected one argument"),
        (["--int", "3"], "unrecognized arguments: --int"),
        (["--interval", "soon", "redis://h"], "--interval: 'soon' is not a number of seconds"),
        (["gopher://h"], "no backend opens gopher://"),
        (
            ["huey+file:///srv/queue"],
            "huey+file:// is not supported; for huey bgtop reads huey+redis://, huey+redis+socket:",
        ),
        (["redis://h", "--backend", "rabbit"], "unknown backend 'rabbit'; known: "),
        (["redis://h:port"], "broker 'redis' cannot read this URL: "),
        (["snapshot", "--samples", "0", "redis://h"], "argument --samples: 0 is less than 1"),
        (["snapshot", "--samples", "x", "redis://h"], "argument --samples: 'x' is not a number"),
        (["snapshot", "--format", "xml", "redis://h"], "argument --format: invalid choice: 'xml'"),
        (["redis://h", "--renderer", "crayons"], "unknown renderer 'crayons'; known: curses, "),
        (["wait", "--queue", "q", "--empty", "--timeout", "x"], "'x' is not a number"),
        (["plugins", "extra"], "unrecognized arguments: extra (see bgtop plugins --help)"),
        (["--config", "nowhere", "redis://h"], "nowhere: no such file"),
    ],
)
def test_wrong_usage_is_one_line_and_status_two(
    arguments: list[str], words: str, call: Run
) -> None:
    done = call(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("bgtop")
    assert words in done.stderr


def test_a_bad_configuration_lists_every_fault(run: Run, environment: dict[str, str]) -> None:
    path = Path(environment["HOME"], ".bgtoprc")
    path.write_text("[DEFAULT]\nurl = redis://h\ncolour = 1\nmax_queues = x\n")

    done = run()

    assert done.returncode == 2
    assert [line.partition(".bgtoprc, ")[2] for line in done.stderr.splitlines()] == [
        "line 3: colour: unknown key",
        "line 4: max_queues: 'x' is not a whole number",
    ]


def test_nothing_to_watch_is_three_lines(run: Run) -> None:
    done = run()

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 3)


def test_a_profile_is_a_source(run: Run, script: Script, environment: dict[str, str]) -> None:
    Path(environment["HOME"], ".bgtoprc").write_text(f"[mine]\nurl = {script.url}\n")

    done = run("snapshot", "mine", "--format", "json")

    assert json.loads(done.stdout)["sources"][0]["name"] == "mine"


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout == f"bgtop {bgtop.__version__}\n"
    for arguments in ((), ("snapshot",), ("plugins",), ("demo",)):
        done = run(*arguments, "--help")

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: bgtop")


def test_plugins_are_listed(run: Run, environment: dict[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "site" / "broken-2.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_text("[bgtop.backends]\nbroken = not_there:plugin\n")

    done = run("plugins")

    rows = {tuple(line.split()[:3]): line for line in done.stdout.splitlines()}
    assert "scripted://" in rows["backend", "scripted", "bgtop_scripted-1.0"]
    assert "celery+redis://" in rows["backend", "celery", f"bgtop-{bgtop.__version__}"]
    assert rows["backend", "broken", "broken-2.0"].endswith("try: pip install 'broken'")
    assert ("renderer", "curses", f"bgtop-{bgtop.__version__}") in rows
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [["snapshot"], ["plugins"], ["--help"]])
def test_a_reader_that_goes_away_is_no_fault(
    arguments: list[str], environment: dict[str, str], script: Script
) -> None:
    """As with ``bgtop snapshot | head -1``: the pipe is closed before anything is written."""
    script.queues(*[f"queue-{number}" for number in range(3000)])
    command = [BGTOP, *arguments, *([script.url] if arguments == ["snapshot"] else [])]

    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    words = process.stderr.read()
    process.stderr.close()

    assert (process.wait(20), words) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_an_output_that_was_closed_before_is_no_fault(
    closed: str, environment: dict[str, str], script: Script
) -> None:
    command = f"exec {BGTOP} snapshot {script.url} {closed}"
    done = subprocess.run(
        ["sh", "-c", command],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_interrupting_a_snapshot(environment: dict[str, str], script: Script) -> None:
    command = [BGTOP, "snapshot", script.url, "--samples", "2", "--interval", "60", "--verbose"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # Python answers signals from the moment its threads poll; before that it has its own answer.
    tasks = Path(f"/proc/{process.pid}/task")
    while len(list(tasks.iterdir())) < 2:
        assert process.poll() is None

    process.send_signal(signal.SIGINT)

    output, words = process.communicate(timeout=20)
    assert (process.returncode, output, words) == (130, "", "")


def test_a_plugin_is_loaded_only_when_it_is_used(
    environment: dict[str, str], script: Script
) -> None:
    code = (
        "import sys\n"
        "from bgtop.cli.main import main\n"
        f"status = main(['snapshot', {script.url!r}])\n"
        "print(status, [name for name in sys.modules if name.startswith('bgtop.backends')])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "0 []"
