"""The last hour of a live view in a file, so that the next one begins with it.

The file is a recording like any other, one for each set of sources. It is written by a thread of
its own: a slow disk does not hold up the screen. What cannot be read or written is told once, in
words; then there is no history, and everything else goes on.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.playback import Playback
from bgtop.recording import Busy, Nothing, Recorder, RecordingError
from bgtop.state.resume import resumed

if TYPE_CHECKING:
    from bgtop.state.fold import Sample
    from bgtop.state.knowledge import Knowledge

LENGTH: Final = 3600.0
"""Seconds that are kept."""

_EACH: Final = 1.0
"""Seconds between two transactions."""

_MOST_WAITING: Final = 1000
"""Samples that wait for a disk that hangs; then the history has a gap."""

_ENDING: Final = 1.0
"""Seconds the end of the live view waits for the disk."""


class _Heard(NamedTuple):
    sample: Sample
    known: Knowledge
    at: datetime


def path_for(folder: str, name: str, about: str) -> str:
    """The file for what ``about`` says, named after the first source of it."""
    name = "".join([letter if letter.isalnum() else "-" for letter in name])[:40]
    number = zlib.crc32(about.encode("utf-8", "surrogatepass"))
    return os.path.join(folder, f"{name}-{number:08x}.bgtop")


class HistoryFile:
    """Reads the last hour and writes the next one; ``about`` says of what."""

    def __init__(self, path: str, *, about: str, most: int, interval: float) -> None:
        self._path, self._about, self._most, self._interval = path, about, most, interval
        self.trouble: str | None = None
        """Why no history is kept, once that is so."""
        self.is_read = False
        """Whether the last hour was read: nothing is learned before, as counters only grow."""
        self._before: Knowledge | None = None
        self._wake: Callable[[], None] = lambda: None
        self._heard: deque[_Heard] = deque()
        self._dropped = self._over = False
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="history", daemon=True)

    def start(self, wake: Callable[[], None]) -> None:
        """Read the last hour; ``wake`` is called, by another thread, once that is done."""
        self._wake = wake
        self._thread.start()

    def resumed(self, known: Knowledge, wall: datetime, clock: float) -> Knowledge:
        """What is known, with what was read; ``wall`` and ``clock`` are now, by both clocks."""
        before, self._before = self._before, None
        return known if before is None else resumed(known, before, wall, clock, LENGTH)

    def _read(self) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        try:
            playback = Playback(self._path)
        except Nothing:
            return
        try:
            if playback.about not in {None, self._about}:
                raise RecordingError(f"{self._path} is the history of something else")
            self._before = playback.seek(playback.end)
        finally:
            playback.close()

    def hear(self, sample: Sample, known: Knowledge, at: datetime) -> None:
        """Keep this, soon."""
        if self._over:
            return  # nobody takes it
        if len(self._heard) >= _MOST_WAITING:
            self._heard.clear()
            self._dropped = True
        self._heard.append(_Heard(sample, known, at))

    def close(self) -> None:
        """Write what is left."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_ENDING)

    def _fail(self, fault: Exception) -> None:
        self._over = True
        self._heard.clear()
        words = (
            str(fault) if isinstance(fault, RecordingError) else f"{type(fault).__name__} {fault}"
        )
        self.trouble = f"no history is kept: {words}"

    def _run(self) -> None:
        try:
            try:
                self._read()
            finally:
                self.is_read = True
                self._wake()
            recorder = Recorder(self._path, most=self._most, longest=LENGTH, about=self._about)
            try:
                self._write(recorder)
            finally:
                recorder.close()
        except Busy:
            # Another live view of these sources keeps it.
            self._over = True
            self._heard.clear()
        except Exception as fault:  # noqa: BLE001 - a traceback here would be written over the screen
            self._fail(fault)

    def _write(self, recorder: Recorder) -> None:
        first = True
        while True:
            ending = self._stopping.wait(_EACH)
            while self._heard:
                heard = self._heard.popleft()
                if first or self._dropped:
                    first = self._dropped = False
                    recorder.begin(heard.known, heard.at, self._interval)
                else:
                    recorder.hear(heard.sample, heard.known, heard.at)
            recorder.commit()
            if ending:
                return
