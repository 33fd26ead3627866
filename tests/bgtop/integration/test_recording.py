"""The file of a recording: what survives, what it may grow to, and what it refuses."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
from frames import polled, queues
from recorded_hour import NOON, beginning, hour, many, same, shops

from bgtop.playback import Playback
from bgtop.recording import APPLICATION, Busy, Recorder, RecordingError
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn

# Takes in samples and commits each; prints how many, and lives until it is killed.
WRITER = """
import sys
from recorded_hour import NOON, beginning, hour, shops
from bgtop.recording import Recorder
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
recorder = Recorder(sys.argv[1], most=5_000_000)
known = Knowledge(snapshot=beginning(*shops()[::2]))
recorder.begin(known, NOON)
for number, (at, sample) in enumerate(hour(), start=1):
    known = learn(known, sample, Selection())
    recorder.hear(sample, known, at)
    recorder.commit()
    print(number, flush=True)
    if number == int(sys.argv[2]):
        sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "x.bgtop")


def recorded(path: str, seconds: int, most: int = 5_000_000) -> Knowledge:
    known = Knowledge(snapshot=beginning(*shops()[::2]))
    with closing(Recorder(path, most=most)) as recorder:
        recorder.begin(known, NOON, 5.0)
        for at, sample in hour(seconds=seconds):
            known = learn(known, sample, Selection())
            recorder.hear(sample, known, at)
            recorder.commit()
    return known


def test_a_recording_is_one_file_of_its_owner(path: str) -> None:
    recorded(path, 60)

    assert os.listdir(os.path.dirname(path)) == ["x.bgtop"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_what_was_committed_survives_a_kill(path: str) -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    plugins = os.path.join(folder, "..", "..", "plugins")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, path, "300"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": plugins},
    )
    assert writer.stdout is not None
    assert writer.stdin is not None
    while writer.stdout.readline() != b"300\n":
        assert writer.poll() is None
    with pytest.raises(Busy, match=rf"is being written by process {writer.pid}"):
        Recorder(path, most=5_000_000)
    assert {os.stat(f"{path}{end}").st_mode & 0o777 for end in ("", "-wal", "-shm")} == {0o600}
    writer.kill()
    writer.wait()
    writer.stdin.close()
    writer.stdout.close()

    expected = Knowledge(snapshot=beginning(*shops()[::2]))
    for at, sample in islice(hour(), 300):
        expected, last = learn(expected, sample, Selection()), at
    with closing(Playback(path)) as playback:
        assert playback.end == last
        assert same(playback.seek(last), expected)
    with closing(Recorder(path, most=5_000_000)) as recorder:
        assert recorder.existed
        recorder.begin(expected, last + timedelta(hours=2))
    with closing(Playback(path)) as playback:
        assert playback.begin == NOON
        assert playback.end == last + timedelta(hours=2)


@pytest.mark.parametrize(
    ("queues", "seconds", "most"), [(20, 3600, 600_000), (1000, 300, 1_200_000)]
)
def test_what_does_not_change_takes_no_room(
    path: str, queues: int, seconds: int, most: int
) -> None:
    """The figures of docs/how-to/record-and-replay.md: a third of the queues change each time."""
    known = Knowledge(snapshot=beginning(shops()[0]))
    with closing(Recorder(path, most=64_000_000)) as recorder:
        recorder.begin(known, NOON)
        for at, sample in many(queues, 10, seconds=seconds):
            known = learn(known, sample, Selection())
            recorder.hear(sample, known, at)
        recorder.commit()

    assert most / 2 < os.path.getsize(path) < most


def test_it_never_grows_beyond_its_cap_and_keeps_the_newest(path: str) -> None:
    most = 1_000_000
    largest, known = 0, Knowledge(snapshot=beginning(shops()[0]))
    with closing(Recorder(path, most=most)) as recorder:
        recorder.begin(known, NOON)
        for at, sample in many(200, 5, seconds=2000):
            known = learn(known, sample, Selection())
            recorder.hear(sample, known, at)
            recorder.commit()
            sizes = [os.path.getsize(f) for f in (path, f"{path}-wal") if os.path.exists(f)]
            largest = max(largest, sum(sizes))

    assert most / 2 < largest <= most
    with closing(Playback(path)) as playback:
        assert NOON + timedelta(seconds=300) < playback.begin < playback.end == at
        assert same(playback.seek(at), known)
        assert playback.seek(playback.begin).snapshot != known.snapshot


def test_a_smaller_cap_makes_an_old_recording_smaller(path: str) -> None:
    known = Knowledge(snapshot=beginning(shops()[0]))
    sizes = []
    for most, seconds in ((3_000_000, 2000), (1_000_000, 100)):
        with closing(Recorder(path, most=most)) as recorder:
            for at, sample in many(200, 5, seconds=seconds):
                known = learn(known, sample, Selection())
                recorder.hear(sample, known, at)
                recorder.commit()
        sizes.append(os.path.getsize(path))

    assert sizes[0] > 1_000_000 >= sizes[1]


def test_what_does_not_fit_at_all_is_said(path: str) -> None:
    names = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(40_000)]
    sample = replace(polled(queues(*names)), source="shop:6379")
    known = learn(Knowledge(snapshot=beginning(shops()[0])), sample, Selection())

    with (
        closing(Recorder(path, most=1_000_000)) as recorder,
        pytest.raises(RecordingError, match="a recording of 976 kB is too small for it"),
    ):
        recorder.begin(known, NOON)


def test_older_than_asked_for_is_dropped(path: str) -> None:
    known = Knowledge(snapshot=beginning(*shops()[::2]))
    with closing(Recorder(path, most=5_000_000, longest=600)) as recorder:
        for at, sample in hour(seconds=1800):
            known = learn(known, sample, Selection())
            recorder.hear(sample, known, at)
            recorder.commit()

    with closing(Playback(path)) as playback:
        assert 600 <= (playback.end - playback.begin).total_seconds() <= 600 + 180 + 5


@pytest.mark.parametrize("kind", ["text", "database", "newer", "folder", "unreadable"])
def test_what_is_no_recording_is_refused_and_left_as_it_is(path: str, kind: str) -> None:
    words = "is no recording of bgtop; it was left as it is"
    match kind:
        case "text":
            Path(path).write_text("my diary\n" * 50)
        case "database" | "newer":
            with closing(sqlite3.connect(path)) as db:
                db.execute("CREATE TABLE diary (day)")
                if kind == "newer":
                    db.execute(f"PRAGMA application_id = {APPLICATION}")
                    db.execute("PRAGMA user_version = 2")
                    words = r"was recorded by a newer bgtop \(format 2, this one knows 1\)"
        case "folder":
            os.mkdir(path)
            words = "is no regular file"
        case "unreadable":
            os.symlink(path, path)
            words = "too many levels"
    before = Path(path).read_bytes() if os.path.isfile(path) else b""

    for use in (lambda: Recorder(path, most=5_000_000), lambda: Playback(path)):
        with pytest.raises(RecordingError, match=words):
            use()

    assert os.listdir(os.path.dirname(path)) == ["x.bgtop"]
    assert before == (Path(path).read_bytes() if os.path.isfile(path) else b"")


def test_an_empty_file_becomes_a_recording_of_its_owner(path: str) -> None:
    Path(path).touch(0o644)
    with pytest.raises(RecordingError, match="there is no recording"):
        Playback(path)

    recorded(path, 30)

    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_damaged_recording_is_told_in_words(path: str) -> None:
    recorded(path, 300)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE sample SET data = x'00112233' WHERE id = 30")
        db.commit()

    with closing(Playback(path)) as playback:
        playback.seek(NOON + timedelta(seconds=60))
        with pytest.raises(RecordingError, match="damaged"):
            playback.seek(NOON + timedelta(seconds=170))


def test_a_writer_that_lost_the_file_stops(path: str) -> None:
    known = Knowledge(snapshot=beginning(*shops()[::2]))
    recorder = Recorder(path, most=5_000_000)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE note SET value = '1 elsewhere x' WHERE name = 'writer'")
        db.commit()
    recorder.begin(known, NOON)

    with pytest.raises(RecordingError, match="taken over by another bgtop"):
        recorder.close()


def test_a_recording_is_read_while_it_is_written(path: str) -> None:
    known = Knowledge(snapshot=beginning(*shops()[::2]))
    with closing(Recorder(path, most=5_000_000)) as recorder:
        recorder.begin(known, NOON)
        recorder.commit()
        with closing(Playback(path)) as playback:
            for at, sample in hour(seconds=400):
                known = learn(known, sample, Selection())
                recorder.hear(sample, known, at)
                recorder.commit()
                assert same(playback.seek(playback.end), known)


def test_a_recording_on_a_medium_that_cannot_be_written_is_read(path: str) -> None:
    known = recorded(path, 60)
    os.chmod(path, 0o400)
    os.chmod(os.path.dirname(path), 0o500)
    try:
        with closing(Playback(path)) as playback:
            assert same(playback.seek(playback.end), known)
    finally:
        os.chmod(os.path.dirname(path), 0o700)
