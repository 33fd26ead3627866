"""What a recording shows at a time: knowledge as it was, found by its keyframes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from bgtop.recording import Nothing, is_there, told, unpacked
from bgtop.state.coding import micros, moment_of
from bgtop.state.fold import Sample
from bgtop.state.knowledge import Knowledge, learn
from bgtop.state.record import AS_RECORDED, Reader

_AT_ONCE: Final = 500
"""Samples that are read from the file together."""


class Heard(NamedTuple):
    """A sample, when it came, and what is known after it; of a keyframe there is no sample."""

    at: datetime
    sample: Sample | None
    known: Knowledge


class Playback:
    """A recording, at one of its moments; used from one thread, while others may write it."""

    def __init__(self, path: str) -> None:
        """Open it at its beginning; raises :class:`bgtop.recording.RecordingError`."""
        self._path = path
        if not is_there(path):
            raise Nothing(f"{path}: there is no recording")
        with told(path):
            self._db = _opened(path)
        try:
            self._load(0)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def known(self) -> Knowledge:
        """What was known at this moment."""
        return self._known

    @property
    def interval(self) -> float | None:
        """Seconds between two readings, as they were asked for."""
        return self._reader.interval

    @property
    def begin(self) -> datetime:
        """The first moment that is kept."""
        with told(self._path):
            [at] = self._db.execute("SELECT at FROM part ORDER BY id LIMIT 1").fetchone()
        return moment_of(at)

    @property
    def end(self) -> datetime:
        """The last moment; it moves while the recording goes on."""
        with told(self._path):
            [at] = self._db.execute(
                "SELECT max((SELECT at FROM part ORDER BY id DESC LIMIT 1),"
                " coalesce((SELECT at FROM sample ORDER BY id DESC LIMIT 1), 0))"
            ).fetchone()
        return moment_of(at)

    @property
    def about(self) -> str | None:
        """What a history is of."""
        with told(self._path):
            found = self._db.execute("SELECT value FROM note WHERE name = 'about'").fetchone()
        return found[0] if found else None

    def seek(self, at: datetime) -> Knowledge:
        """What was known at this moment."""
        for _ in self.play(at):
            pass
        return self._known

    def play(self, at: datetime) -> Iterator[Heard]:
        """Go on to this moment, sample by sample; back to it from the keyframe before."""
        moment = micros(at)
        with told(self._path):
            query = "SELECT id FROM part WHERE at <= ? ORDER BY id DESC LIMIT 1"
            found = self._db.execute(query, (moment,)).fetchone()
        # In a recording of before this moment the keyframe is the nearest there is.
        part = found[0] if found else 0
        if part > self._last or moment < self._at:
            yield self._load(part)
        yield from self._go_on(moment)

    def _load(self, part: int) -> Heard:
        """Take the keyframe with this number, or the first one after it."""
        with told(self._path):
            query = "SELECT id, at, keyframe FROM part WHERE id >= ? ORDER BY id LIMIT 1"
            row = self._db.execute(query, (part,)).fetchone()
            if row is None:
                raise Nothing(f"{self._path}: nothing was recorded")
            self._last, self._at, data = row
            self._reader = Reader(unpacked(data))
        self._known = self._reader.known
        return Heard(moment_of(self._at), None, self._known)

    def _go_on(self, moment: int) -> Iterator[Heard]:
        query = (
            "SELECT id, at, data FROM sample WHERE id > ? AND at <= ? AND id < coalesce("
            "(SELECT id FROM part WHERE id > ? ORDER BY id LIMIT 1), 1 << 62) ORDER BY id LIMIT ?"
        )
        rows = [(0, 0, b"")]
        while rows:
            with told(self._path):
                bounds = (self._last, moment, self._last, _AT_ONCE)
                rows = self._db.execute(query, bounds).fetchall()
            for number, at, data in rows:
                with told(self._path):
                    sample = self._reader.sample(unpacked(data), self._known.snapshot)
                self._known = learn(self._known, sample, AS_RECORDED)
                self._last, self._at = number, at
                yield Heard(moment_of(at), sample, self._known)


def _opened(path: str) -> sqlite3.Connection:
    """A connection that only reads; a file on a medium that cannot be written is read as it is."""
    for options in ("mode=ro", "immutable=1"):
        db = sqlite3.connect(f"file:{quote(path)}?{options}", uri=True, isolation_level=None)
        try:
            db.execute("SELECT count(*) FROM part").fetchone()
        except sqlite3.OperationalError as fault:
            db.close()
            if options != "mode=ro" or "unable to open" not in str(fault):
                raise
        else:
            return db
    raise AssertionError("one of both opens it, or says why not")
