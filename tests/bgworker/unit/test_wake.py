"""Doorbells: whoever rings is heard, and nobody who rings is ever held up."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import JobSpec
from bgworker.wake import Doorbell, Ringer


@pytest.fixture
def ringer(tmp_path: Path) -> Iterator[Ringer]:
    found = Ringer(str(tmp_path))
    yield found
    found.close()


@pytest.fixture
def hang(tmp_path: Path) -> Iterator[Callable[..., Doorbell]]:
    """Hang up bells; they are taken down at the end."""
    bells: list[Doorbell] = []

    def make(name: str = "a.bell", folder: Path = tmp_path) -> Doorbell:
        bells.append(Doorbell(str(folder), name))
        return bells[-1]

    yield make
    for bell in bells:
        bell.close()


def heard(bell: Doorbell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_a_ring_is_heard_by_every_bell(hang: Callable[..., Doorbell], ringer: Ringer) -> None:
    bells = [hang(f"{n}.bell") for n in range(5)]
    assert not any(map(heard, bells))
    ringer.ring()

    assert all(map(heard, bells))
    for bell in bells:
        bell.silence()
    assert not any(map(heard, bells))


def test_a_ring_before_anybody_listens_is_no_error(
    hang: Callable[..., Doorbell], ringer: Ringer
) -> None:
    """It is lost; the listener looks once after it has hung up its bell."""
    ringer.ring()
    bell = hang()

    assert not heard(bell)
    ringer.ring()
    assert heard(bell)


def test_a_ring_before_the_wait_is_not_lost(hang: Callable[..., Doorbell], ringer: Ringer) -> None:
    bell = hang()
    ringer.ring()

    assert bell.wait(0)
    assert not bell.wait(0)


def test_waiting_ends_in_time(hang: Callable[..., Doorbell]) -> None:
    bell = hang()
    began = time.monotonic()

    assert not bell.wait(0.1)
    assert 0.09 < time.monotonic() - began < 5
    assert not bell.wait(-1)


def test_a_full_bell_is_still_a_ringing_bell(hang: Callable[..., Doorbell], ringer: Ringer) -> None:
    """Thousands of rings without a listener: nobody blocks, and one silence takes all of them."""
    bell, other = hang("full.bell"), hang("other.bell")
    for _ in range(3_000):
        ringer.ring()
        other.silence()
    ringer.ring()  # who blocked here would do so for ever

    assert heard(bell)
    assert heard(other), "a full bell holds up no other"
    bell.silence()
    assert not heard(bell)


def test_bells_of_the_dead_are_taken_down(
    hang: Callable[..., Doorbell], ringer: Ringer, tmp_path: Path
) -> None:
    """A killed process leaves its socket behind; rings go on to the living."""
    for n in range(3):
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        dead.bind(str(tmp_path / f"dead-{n}.bell"))
        dead.close()
    alive = hang("zz-alive.bell")
    ringer.ring()

    assert heard(alive)
    assert os.listdir(tmp_path) == ["zz-alive.bell"]


def test_other_files_are_not_rung_and_not_removed(
    hang: Callable[..., Doorbell], ringer: Ringer, tmp_path: Path
) -> None:
    (tmp_path / "w.lock").write_text("life")
    (tmp_path / "notes.bell").write_text("not a socket")
    bell = hang()
    ringer.ring()

    assert heard(bell)
    assert (tmp_path / "w.lock").read_text() == "life"
    assert (tmp_path / "notes.bell").exists()


def test_a_folder_that_is_missing_or_vanishes_is_no_error(
    hang: Callable[..., Doorbell], tmp_path: Path
) -> None:
    """What was to be announced is stored already."""
    folder = tmp_path / "workers"
    ringer = Ringer(str(folder))
    ringer.ring()
    folder.mkdir()
    bell = hang("a.bell", folder)
    ringer.ring()
    assert heard(bell)
    bell.close()
    folder.rmdir()
    ringer.ring()
    folder.write_text("a file")
    ringer.ring()
    ringer.close()


def test_a_folder_that_cannot_be_listed_is_no_error(
    hang: Callable[..., Doorbell], ringer: Ringer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its time and the listing it may be removed or closed to us."""
    bell = hang("a.bell")

    def refuse(_: str) -> list[str]:
        raise PermissionError(errno.EACCES, "no")

    with monkeypatch.context() as patch:
        patch.setattr("bgworker.wake.os.listdir", refuse)
        ringer.ring()
        assert not heard(bell)
    ringer.ring()
    assert heard(bell), "no listing is no reason to believe that there is no bell"


@pytest.mark.parametrize("length", [100, 107, 108, 109, 180, 250])
def test_paths_of_any_length_work(
    hang: Callable[..., Doorbell], tmp_path: Path, length: int
) -> None:
    """A socket's address has room for 107 bytes only; umlauts count twice."""
    room = max(1, length - len(os.fsencode(tmp_path)) - len("/") - len("/a.bell"))
    folder = tmp_path / ("ü" * (room // 2) + "x" * (room % 2))
    folder.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    ringer = Ringer(str(folder))
    bell = hang("a.bell", folder)
    ringer.ring()

    assert len(os.fsencode(folder / "a.bell")) >= min(length, 107) or room == 1
    assert heard(bell)
    bell.close()
    ringer.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(folder) == []


def test_new_bells_are_found_whenever_they_come(
    hang: Callable[..., Doorbell], ringer: Ringer
) -> None:
    """A directory's time of change is coarse: several changes may carry the same one."""
    for n in range(60):
        bell = hang(f"{n}.bell")
        ringer.ring()
        assert heard(bell), n
        bell.close()


def test_listeners_that_have_stopped_do_not_silence_the_others(
    hang: Callable[..., Doorbell], ringer: Ringer
) -> None:
    """The kernel charges rings that nobody has taken to their sender."""
    for n in range(60):
        hang(f"stopped-{n}.bell")
    for _ in range(20):
        ringer.ring()
    bell = hang("zz-awake.bell")
    for _ in range(20):
        ringer.ring()
        assert heard(bell)
        bell.silence()


def test_a_bell_hung_up_during_the_listing_is_found_later(
    hang: Callable[..., Doorbell],
    ringer: Ringer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ringer is held up between listing and clock; the second bell carries the first's time."""
    hang("first.bell")
    at = os.stat(tmp_path).st_mtime_ns
    listdir = os.listdir

    def slow_listing(path: str) -> list[str]:
        found = listdir(path)
        hang("second.bell")
        os.utime(tmp_path, ns=(at, at))
        while time.time_ns() - at < 60_000_000:
            continue
        monkeypatch.setattr("bgworker.wake.os.listdir", listdir)
        return found

    monkeypatch.setattr("bgworker.wake.os.listdir", slow_listing)
    ringer.ring()
    second = hang("third.bell")
    os.utime(tmp_path, ns=(at, at))
    ringer.ring()

    assert heard(second)


def test_an_unchanged_folder_is_not_listed_again(
    hang: Callable[..., Doorbell],
    ringer: Ringer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., object],
) -> None:
    bell = hang()
    os.utime(tmp_path, ns=(1, 1))
    ringer.ring()

    def fail(_: str) -> list[str]:
        raise AssertionError("listed again")

    monkeypatch.setattr("bgworker.wake.os.listdir", fail)
    ringer.ring()
    assert heard(bell)


def test_a_bell_replaces_what_is_left_of_its_name(
    hang: Callable[..., Doorbell], ringer: Ringer, tmp_path: Path
) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(str(tmp_path / "a.bell"))
    bell = hang("a.bell")
    ringer.ring()

    assert heard(bell)
    left.close()


def test_no_commit_of_another_goes_unnoticed_when_every_ring_is_lost(tmp_path: Path) -> None:
    """The safety net: whatever this worker itself commits in between."""
    path = str(tmp_path / "jobs.db")
    mine, other = (SqliteEngine(path, durable=False) for _ in range(2))
    chance = random.Random(6)
    job = [JobSpec(task="t")]
    mine.enqueue(job)
    mine.changed()
    for _ in range(10_000):
        order = [other, *(mine for _ in range(2) if chance.random() < 0.1)]
        for engine in chance.sample(order, len(order)):
            engine.enqueue(job)
        assert mine.changed()
        assert not mine.changed()
    for engine in (mine, other):
        engine.close()


def test_a_closed_bell_is_gone(hang: Callable[..., Doorbell], tmp_path: Path) -> None:
    bell = hang()
    bell.close()

    assert os.listdir(tmp_path) == []
    bell.close()
