"""A picture reaches the terminal in one piece: each of them may be a packet on a slow line."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bgtop.renderers.buffered import BufferedOutput

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
DRAWS_TWO_PICTURES = """
import os, sys
from datetime import datetime, timezone
from bgtop.contracts import Look
from bgtop.renderers.curses import CursesRenderer
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui
from screen import SIZE, beginning, frame_after, reading

mouth = int(sys.argv[1])
renderer = CursesRenderer(Look(mouse=False))  # which needs a terminal to begin with
os.dup2(mouth, renderer._output._terminal)
known = beginning()
for turn in range(2):
    known, frame = frame_after(known, reading(30, 5, turn), float(turn))
    os.write(mouth, b"NEXT")
    renderer.draw(page_of(frame, Ui(size=SIZE, interval=1.0), datetime.now(timezone.utc)))
os.write(mouth, b"END")
renderer.close()
"""


@contextmanager
def packets() -> Iterator[tuple[int, int]]:
    """A pipe from which each read gives what one write put in."""
    ear, mouth = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
    try:
        yield ear, mouth
    finally:
        os.close(ear)
        os.close(mouth)


def test_what_is_written_in_a_block_is_sent_at_its_end_in_one_piece() -> None:
    with packets() as (ear, mouth), closing(BufferedOutput(mouth)) as output:
        for round_ in (b"first", b"second"):
            with output.one_write():
                os.write(mouth, round_)
                os.write(mouth, b" and more")
            assert os.read(ear, 4096) == round_ + b" and more"
        os.write(mouth, b"directly")
        assert os.read(ear, 4096) == b"directly"


def test_what_was_written_before_a_failure_is_sent_too() -> None:
    with packets() as (ear, mouth), closing(BufferedOutput(mouth)) as output:
        with pytest.raises(BrokenPipeError):
            _write_half(output, mouth)
        assert os.read(ear, 4096) == b"half"


def _write_half(output: BufferedOutput, mouth: int) -> None:
    with output.one_write():
        os.write(mouth, b"half")
        raise BrokenPipeError


def test_a_terminal_that_is_gone_is_no_failure() -> None:
    ear, mouth = os.pipe()
    with closing(BufferedOutput(mouth)) as output:
        os.close(ear)
        with output.one_write():
            os.write(mouth, b"to nobody")
    os.close(mouth)


def test_a_picture_in_which_every_row_has_changed_is_one_write() -> None:
    master, slave = os.openpty()
    with packets() as (ear, mouth):
        painter = subprocess.Popen(
            [sys.executable, "-c", DRAWS_TWO_PICTURES, str(mouth)],
            stdin=slave,
            stdout=slave,
            pass_fds=[mouth],
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "LC_ALL": "C.UTF-8",
                "PYTHONPATH": str(BENCHMARKS),
            },
        )
        written = []
        while not written or written[-1] != b"END":
            assert select.select([ear], [], [], 30)[0], "the painter has ended or hangs"
            written.append(os.read(ear, 4096))
        assert painter.wait(30) == 0
    os.close(slave)
    os.close(master)

    second = written[written.index(b"NEXT", written.index(b"NEXT") + 1) + 1 : -1]
    assert len(second) == 1
    assert second[0].count(b"H") > 20  # the cursor went from row to row
