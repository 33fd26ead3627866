"""The documents do what they say: a reader who types them in order sees what they promise.

How a fenced block is treated follows from its language and from an HTML comment just above it:

``console``
    Each line after ``$ `` is a command. The lines below it must appear in its output in this
    order, whatever the width of its columns; ``…`` stands for anything. ``make`` only looks its
    target up: it would run this test. ``pip install .`` installs into a folder of this test, from
    where everything that follows finds it.
``python``
    Runs as a script.
``<!-- file: NAME -->``
    The block is what the reader puts into that file.
``<!-- background: TEXT -->``
    The command runs on after it has printed TEXT, until SIGTERM at the end of the document.
``<!-- from: NAME -->``
    The block is quoted from this file of ours, line by line; ``…`` alone in a line stands for more.

Everything happens in one empty folder, which is also the home directory. The Redis address of the
text stands for a server of this test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "docs/tutorial.md",
    "docs/writing-a-backend.md",
    "docs/writing-a-renderer.md",
    "docs/how-to/cancel-and-retry.md",
    "docs/how-to/check-before-you-deploy.md",
    "docs/how-to/monitor-a-worker.md",
    "docs/how-to/schedules.md",
    "docs/how-to/flask-and-fastapi.md",
    "docs/how-to/migrate-from-celery.md",
    "docs/how-to/migrate-from-huey.md",
    "docs/how-to/migrate-from-pybgworker.md",
    "docs/how-to/test-your-tasks.md",
    "docs/how-to/threads.md",
)
REDIS = "redis://localhost:6379/0"
BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>file|background|from): (?P<value>.+?) -->\n)?"
    r"```(?P<language>.*)\n(?P<text>(?s:.*?))^```$",
    re.MULTILINE,
)
NOT_RUN = {"text", "toml", "ini"}
# Without a network, and beside our own environment.
PIP_INSTALL = (
    f"'{sys.executable}' -m pip install -qq --disable-pip-version-check --no-index --no-deps"
    " --no-build-isolation --target installed ."
)

WaitUntil = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Block:
    place: str
    language: str
    text: str
    kind: str | None
    value: str


@dataclass(frozen=True, slots=True)
class Command:
    line: str
    output: tuple[str, ...]


def blocks_of(text: str, name: str) -> Iterator[Block]:
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(
            place=f"{name}:{line}",
            language=found["language"],
            text=found["text"],
            kind=found["kind"],
            value=found["value"] or "",
        )


def commands_of(block: Block) -> Iterator[Command]:
    assert block.text.startswith("$ "), f"{block.place}: a console block begins with '$ '"
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        # A command goes on in the next line after a backslash, as in the shell.
        line, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield Command(line, tuple(output.splitlines()))


def one_blank(line: str) -> str:
    """The line without its layout: the width of a column follows from what is in it."""
    return " ".join(line.split())


def first_missing(wanted: tuple[str, ...], output: str) -> str | None:
    """The first documented line that does not follow the ones before it in the output."""
    lines = iter([one_blank(line) for line in output.splitlines()])
    for line in wanted:
        pattern = ".*".join(re.escape(part) for part in re.split(" ?… ?", one_blank(line)))
        if not any(re.fullmatch(pattern, line_of_output) for line_of_output in lines):
            return line
    return None


def first_unquoted(quotation: str, source: str) -> str | None:
    """The first part of a quotation whose lines do not follow those before it in the source."""
    left = code_lines(source)
    for part in re.split(r"^ *…\n", quotation, flags=re.MULTILINE):
        wanted = code_lines(part)
        places = range(len(left) - len(wanted) + 1)
        found = next((n for n in places if left[n : n + len(wanted)] == wanted), None)
        if found is None:
            return part
        left = left[found + len(wanted) :]
    return None


def code_lines(text: str) -> list[str]:
    """The lines less indentation and blanks: the formatter moves a quotation to the left."""
    return [line.strip() for line in text.splitlines() if line.strip()]


class Reader:
    """Somebody who follows a document in one folder."""

    def __init__(self, folder: Path, wait_until: WaitUntil, at_the_end: ExitStack) -> None:
        self.folder = folder
        self.wait_until = wait_until
        self.at_the_end = at_the_end
        mine = ("BGTOP_", "BGWORKER_")
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(mine)
        }
        programs = Path(sys.executable).parent
        self.environment |= {
            "HOME": str(folder),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "installed"),
        }

    def follow(self, block: Block) -> None:
        if block.kind == "from":
            missing = first_unquoted(block.text, (ROOT / block.value).read_text())
            assert missing is None, f"{block.place}: {block.value} does not have {missing!r}"
        elif block.kind == "file":
            (self.folder / block.value).write_text(block.text)
        elif block.language == "python":
            self.run([sys.executable, "-c", block.text], block.place)
        elif block.language == "console":
            for command in commands_of(block):
                self.type(command, block)
        else:
            assert block.language in NOT_RUN, f"{block.place}: no rule for {block.language!r}"

    def type(self, command: Command, block: Block) -> None:
        if block.kind == "background":
            self.at_the_end.enter_context(self.running(command.line, until=block.value))
            return
        line = re.sub(r"^make\b", f"make -n -C '{ROOT}'", command.line)
        line = re.sub(r"^pip install \.$", PIP_INSTALL, line)
        output = self.run(["sh", "-c", line], f"{block.place}: {command.line}")
        missing = first_missing(command.output, output)
        assert missing is None, f"{block.place}: {command.line}: no {missing!r} in:\n{output}"

    def run(self, command: list[str], place: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{place}: exit status {done.returncode}:\n{done.stdout}"
        return done.stdout

    @contextmanager
    def running(self, line: str, *, until: str) -> Iterator[None]:
        log = self.folder / f"background-{len(list(self.folder.iterdir()))}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {line}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_until(
                lambda: until in log.read_text() or process.poll() is not None,
                seconds=20,
                why=f"{line} says {until!r}",
            )
            assert process.poll() is None, f"{line} has ended"
            yield
            process.terminate()
            assert process.wait(timeout=15) == 0, f"{line} did not end well after SIGTERM"
        finally:
            process.kill()
            process.wait()
            print(f"$ {line}\n{log.read_text()}")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_and_snippets_do_what_the_text_says(
    name: str, tmp_path: Path, wait_until: WaitUntil, request: pytest.FixtureRequest
) -> None:
    text = (ROOT / name).read_text()
    if REDIS in text:
        text = text.replace(REDIS, request.getfixturevalue("redis_server").url)
    blocks = list(blocks_of(text, name))
    assert {"console", "python"} <= {block.language for block in blocks}

    with ExitStack() as at_the_end:
        reader = Reader(tmp_path, wait_until, at_the_end)
        for block in blocks:
            reader.follow(block)


def test_documented_output_is_compared_line_by_line_and_in_order() -> None:
    output = "QUEUE  DEPTH\nmail      12\nslow       0\n"

    assert first_missing(("QUEUE …", "mail … 12"), output) is None
    assert first_missing(("mail  12", "QUEUE …"), output) == "QUEUE …"
    assert first_missing(("mail … 1",), output) == "mail … 1"


def test_a_quotation_is_compared_part_by_part_and_in_order() -> None:
    source = "a = 1\nb = 2\nc = 3\n"

    assert first_unquoted("a = 1\n…\nc = 3\n", source) is None
    assert first_unquoted("a = 1\nc = 3\n", source) == "a = 1\nc = 3\n"
    assert first_unquoted("c = 3\n…\na = 1\n", source) == "a = 1\n"
    assert first_unquoted("= 2\n", source) == "= 2\n"
    assert first_unquoted("    b = 2\n\n    c = 3\n", source) is None


def test_every_fence_is_seen() -> None:
    """A fence the pattern misses would be a command nobody runs."""
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        fences = re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)

        assert len(fences) == 2 * len(list(blocks_of(text, name)))
