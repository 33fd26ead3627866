"""A worker's scoreboard, whole, half written, foreign or gone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgworker.scoreboard import Board, Scoreboard, Slot, read_board


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.lock"


@pytest.fixture
def board(path: Path) -> Iterator[Scoreboard]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    found = Scoreboard(fd, 3)
    yield found
    found.close()
    os.close(fd)


def test_what_one_writes_the_others_read(board: Scoreboard, path: Path) -> None:
    board.beat(1_700, processed=12, failed=3)
    board.start(0, 2**63 - 1, 7, 1_600)
    board.start(2, 5, 2**40, 1_650)
    expected = (Slot(2**63 - 1, 7, 1_600), None, Slot(5, 2**40, 1_650))

    assert read_board(str(path)) == Board(1_700, 12, 3, expected)
    with path.open("r+b") as file:
        other = Scoreboard(file.fileno())
        assert [other.slot(n) for n in range(other.slots)] == list(expected)
        other.finish(0)
        other.close()
    assert board.slot(0) is None
    found = read_board(str(path))
    assert found is not None
    assert found.running == (Slot(5, 2**40, 1_650),)


def test_a_board_that_is_laid_out_anew_forgets(board: Scoreboard, path: Path) -> None:
    board.start(0, 1, 1, 1)
    with path.open("r+b") as file:
        Scoreboard(file.fileno(), 2).close()

    assert read_board(str(path)) == Board(0, 0, 0, (None, None))


def test_a_copy_of_a_process_shares_the_board(board: Scoreboard) -> None:
    pid = os.fork()
    if pid == 0:
        board.start(1, 44, 2, 9)
        os._exit(0)
    os.waitpid(pid, 0)

    assert board.slot(1) == Slot(44, 2, 9)


@given(st.integers(0, 2**16 - 1).flatmap(lambda n: st.binary(max_size=200)))
def test_foreign_bytes_are_no_board(data: bytes) -> None:
    assert_no_board(data)


@given(st.binary(max_size=120))
def test_bytes_that_begin_like_a_board_are_none_either(data: bytes) -> None:
    """Neither with another version, nor with more slots than the file has."""
    assert_no_board(b"BGWS" + data[:1] + b"\xff" + data)
    assert_no_board(b"BGWS\x01\x00\xff\xff" + data)


def test_a_board_of_another_version_is_no_board(board: Scoreboard, path: Path) -> None:
    """Its slots may be laid out otherwise: to guess would charge the wrong job with a crash."""
    assert read_board(str(path)) is not None
    with path.open("r+b") as file:
        file.write(b"BGWS\x02\x00")
        file.flush()
        assert read_board(str(path)) is None
        with pytest.raises(ValueError, match="not a scoreboard of this version"):
            Scoreboard(file.fileno())


def assert_no_board(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()

        assert read_board(file.name) is None
        if len(data) < 64 or not data.startswith(b"BGWS\x01\x00"):
            with pytest.raises(ValueError, match="not a scoreboard"):
                Scoreboard(file.fileno())


def test_every_shorter_file_is_no_board(board: Scoreboard, path: Path) -> None:
    """A worker that is just being born, or a file that lost its end."""
    data = path.read_bytes()
    cut = path.with_suffix(".cut")
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        assert read_board(str(cut)) is None
    cut.write_bytes(data)
    assert read_board(str(cut)) is not None


def test_a_file_that_promises_more_slots_than_it_has_cannot_be_mapped(tmp_path: Path) -> None:
    """Otherwise a look beyond its end would be an error in the middle of a burial."""
    path = tmp_path / "short"
    path.write_bytes(b"BGWS\x01\x00\x09\x00" + b"\0" * 56)
    with path.open("r+b") as file, pytest.raises(ValueError, match="not a scoreboard"):
        Scoreboard(file.fileno())


@pytest.mark.parametrize("name", ["missing", "folder", "x" * 300, "a/b/c"])
def test_a_file_that_is_not_there_is_no_board(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()

    assert read_board(str(tmp_path / name)) is None


def test_a_torn_slot_is_taken_for_no_known_claim(board: Scoreboard, path: Path) -> None:
    """Job and claim number are written one after the other; both have to fit to mean anything."""
    board.start(0, 10, 3, 1)
    with path.open("r+b") as file:
        file.seek(64)
        file.write((11).to_bytes(8, "little"))
    found = read_board(str(path))

    assert found is not None
    assert found.running == (Slot(11, 3, 1),)
