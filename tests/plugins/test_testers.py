"""Tests beside each other end as they do one after the other; a tester that dies costs one test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent
OPTIONS = ("-p", "testers", "-p", "no:cacheprovider")


def command(folder: Path, *options: str) -> list[str | Path]:
    return [sys.executable, "-m", "pytest", *OPTIONS, *options, "--rootdir", folder, folder]


def environment() -> Mapping[str, str]:
    ours = {name: value for name, value in os.environ.items() if name != "CI"}
    return ours | {"PYTHONPATH": str(PLUGINS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *options),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, source in files.items():
        (folder / name).write_text(f"import os, sys\nimport pytest\n\n{source}")


DEADLY = """
@pytest.mark.parametrize("number", range(20))
def test_it(number):
    if number == 10 and {deadly}:
        {death}
"""


@pytest.mark.parametrize("testers", [1, 2, 3])
@pytest.mark.parametrize(
    "death",
    ["os._exit(1)", "os.fork() or os.execlp('sleep', 'sleep', '5'); os.kill(os.getpid(), 9)"],
)
def test_a_tester_that_dies_costs_the_test_it_died_in(
    tmp_path: Path, testers: int, death: str
) -> None:
    write(
        tmp_path,
        {f"test_{n}.py": DEADLY.format(deadly=n in (2, 5), death=death) for n in range(6)},
    )

    done = run(tmp_path, "-q", "-rf", "--testers", str(testers))

    assert "2 failed, 118 passed" in done.stdout
    assert all(f"test_{n}.py::test_it[10]" in done.stdout for n in (2, 5))
    assert done.returncode == 1


WAITS_FOR_THE_OTHER = """
def test_it():
    import time
    assert not os.path.exists("{folder}/between")
    open("{folder}/{name}", "w").close()
    while not os.path.exists("{folder}/{other}"):
        time.sleep(0.01)
"""


def test_the_second_tester_begins_at_the_end(tmp_path: Path) -> None:
    """The first and the last file need each other, and nobody else has run yet."""
    names = {"first": "test_a.py", "last": "test_z.py"}
    for name, other in (("first", "last"), ("last", "first")):
        source = WAITS_FOR_THE_OTHER.format(folder=tmp_path, name=name, other=other)
        write(tmp_path, {names[name]: source})
    between = f"def test_it():\n    open('{tmp_path}/between', 'w').close()\n"
    write(tmp_path, {f"test_{n}.py": between for n in "mn"})

    done = run(tmp_path, "-q", "--testers", "2")

    assert "4 passed" in done.stdout
    assert done.returncode == 0


ENDS_AS_IT_ASKS = """
def test_it():
    import threading, time
    main = threading.main_thread().ident

    def end():
        # In the question for more, which the reader does not answer yet.
        while not os.path.exists("{folder}/told") or (
            sys._current_frames()[main].f_code.co_name != "_recv"
        ):
            time.sleep(0.01)
        os._exit(3)

    threading.Thread(target=end, daemon=True).start()
    open("{folder}/pid", "w").write(str(os.getpid()))
"""
ANSWERS_THE_DEAD = """
import os
reader = os.getpid()

def pytest_runtest_logreport(report):
    if os.getpid() == reader and report.when == "teardown" and "test_a" in report.nodeid:
        open("{folder}/told", "w").close()
        tester = int(open("{folder}/pid").read())
        os.waitid(os.P_PID, tester, os.WEXITED | os.WNOWAIT)
"""


def test_a_tester_that_dies_between_two_tests_fails_the_run_in_words(tmp_path: Path) -> None:
    usual = {f"test_{name}.py": "def test_it(): pass" for name in "bcd"}
    write(tmp_path, {"test_a.py": ENDS_AS_IT_ASKS.format(folder=tmp_path), **usual})
    (tmp_path / "conftest.py").write_text(ANSWERS_THE_DEAD.format(folder=tmp_path))

    done = run(tmp_path, "--testers", "1")

    assert "a tester ended with 3 behind its last test" in done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


ENDINGS = """
@pytest.fixture(scope="session")
def shared():
    yield
    raise RuntimeError("the last of all tears down")

def test_it_fails():
    print("said before it failed")
    assert 1 == 2, "the reason"

@pytest.mark.skip(reason="not now")
def test_it_skips(): pass

@pytest.mark.xfail
def test_it_is_expected(): assert 0

def test_it_passes(shared, tmp_path):
    assert "tester-" in str(tmp_path)
    open(f"{__file__}.{os.getpid()}", "w").close()
"""


def test_every_ending_is_told_with_its_reason_and_its_output(tmp_path: Path) -> None:
    write(tmp_path, {"test_a.py": ENDINGS, "test_b.py": ENDINGS, "test_c.py": ENDINGS})

    done = run(tmp_path, "--testers", "3")

    # Who is quick takes two files; what is shared is torn down once by each that took one.
    testers = {file.suffix for file in tmp_path.glob("*.py.*")}
    errors = f"{len(testers)} error{'s' * (len(testers) > 1)}"
    assert f"3 failed, 3 passed, 3 skipped, 3 xfailed, {errors} in " in done.stdout
    assert done.stdout.count("AssertionError: the reason") == 3
    assert done.stdout.count("\nsaid before it failed") == 3
    assert done.stdout.count("RuntimeError: the last of all tears down") >= 3


def test_no_more_files_are_begun_after_as_many_failures_as_are_allowed(tmp_path: Path) -> None:
    write(tmp_path, {f"test_{n:02}.py": "def test_it(): assert 0" for n in range(40)})

    done = run(tmp_path, "--testers", "2", "--maxfail", "3")

    assert done.returncode == 1
    assert " stopping after " in done.stdout
    assert done.stdout.count("def test_it(): assert 0") < 10


def test_a_file_that_cannot_be_read_is_the_end_before_any_test(tmp_path: Path) -> None:
    write(
        tmp_path, {"test_a.py": "def test_it(): pass", "test_b.py": "import nothing_of_this_name"}
    )

    done = run(tmp_path, "--testers", "2")

    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert " 1 error in " in done.stdout


REGISTERS = """
import atexit

def test_it():
    atexit.register(lambda: open("{folder}/ended-" + str(os.getpid()), "w"))
"""


def test_a_tester_ends_as_a_program_does(tmp_path: Path) -> None:
    """What its tests registered is run; and of the reader's nothing."""
    source = REGISTERS.format(folder=tmp_path)
    write(tmp_path, {"test_a.py": source, "test_b.py": source})
    (tmp_path / "conftest.py").write_text(
        "import atexit, os\n"
        f"atexit.register(lambda: open('{tmp_path}/read-' + str(os.getpid()), 'w'))\n"
    )

    assert run(tmp_path, "--testers", "2").returncode == 0
    ended, read = ({*tmp_path.glob(f"{word}-*")} for word in ("ended", "read"))
    assert 1 <= len(ended) <= 2
    assert len(read) == 1


WAITS = """
@pytest.fixture(scope="session")
def server():
    yield
    open("{folder}/stopped-" + str(os.getpid()), "w")

def test_it(server):
    import time
    reader = os.getppid()
    open("{folder}/began-" + str(os.getpid()), "w")
    while os.getppid() == reader:
        time.sleep(0.01)
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of two tests that wait until they are interrupted, or nobody waits for them."""
    source = WAITS.format(folder=tmp_path)
    write(tmp_path, {"test_a.py": source, "test_b.py": source})
    began = command(tmp_path, "--testers", "2")
    with subprocess.Popen(
        began, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_an_interrupted_run_stops_what_its_tests_had_started(
    tmp_path: Path, waiting: subprocess.Popen[str], wait_until: Callable[..., object]
) -> None:
    wait_until(lambda: len(list(tmp_path.glob("began-*"))) == 2, seconds=30)

    # As a key does: to all of them.
    os.killpg(waiting.pid, signal.SIGINT)

    assert waiting.wait(30) == pytest.ExitCode.INTERRUPTED
    began, stopped = (
        {path.name.split("-")[1] for path in tmp_path.glob(f"{word}-*")}
        for word in ("began", "stopped")
    )
    assert began == stopped


def test_what_needs_a_node_is_kept_together_and_the_rest_by_file(tmp_path: Path) -> None:
    """Each tester writes who it is: what shares a node was tested by one."""
    source = f"def test_it(): open('{tmp_path}/' + __name__ + '.' + str(os.getpid()), 'w')"
    names = ["a_rabbit", "b_rabbit", "celery_rabbit", "celery_rabbit_two", "c", "d"]
    write(tmp_path, {f"test_{name}.py": source for name in names})
    fixture = "@pytest.fixture\ndef rabbit_node(): pass\n\n"
    write(tmp_path, {"test_asks.py": fixture + source.replace("()", "(rabbit_node)", 1)})

    done = run(tmp_path, "--testers", "6")

    assert done.returncode == 0
    by = {name: next(tmp_path.glob(f"test_{name}.[0-9]*")).suffix for name in [*names, "asks"]}
    assert by["asks"] == by["a_rabbit"] == by["b_rabbit"]
    assert by["celery_rabbit"] == by["celery_rabbit_two"]
