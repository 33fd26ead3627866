"""What a disk may hold after a power cut: the writes of a program, recorded and replayed.

Only what was flushed is sure to be there. Of what was written since, any part may have arrived, in
any order, the last of it torn at a sector; names come and go in order, and are sure after a flush
of their folder.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SYSCALLS = "openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink,rename"
STRACE = ("strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "1000000", "-e", f"trace={SYSCALLS}")
"""Add ``-o FILE`` and the command."""
SECTOR = 512
_CALL = re.compile(r"(\w+)\((.*)", re.DOTALL)
_QUOTED = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"\d+<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True, slots=True)
class Event:
    """``kind``: create, write, append, truncate, unlink, flush (it begins) or flushed."""

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""


def read_trace(trace: Path) -> Iterator[Event]:
    """In the order in which the calls began; a flush ends, and an append counts, on return."""
    unfinished: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        pid, _, text = line.partition(" ")
        text = text.lstrip()
        if text.startswith("<... "):
            yield from _after(unfinished.pop(pid))
        elif text.endswith("<unfinished ...>"):
            unfinished[pid] = text
            yield from _before(text)
        elif _CALL.match(text) and " = -1 " not in text[-120:]:
            yield from _before(text)
            yield from _after(text)


def _before(text: str) -> Iterator[Event]:
    call, rest = _parts(text)
    if call == "pwrite64":
        *_, offset = rest.removesuffix("<unfinished ...>").partition(")")[0].split(",")
        yield Event("write", _path(rest), int(offset), _bytes(_QUOTED, rest))
    elif call == "ftruncate":
        size = rest.rpartition(">, ")[2].partition(")")[0].removesuffix("<unfinished ...>")
        yield Event("truncate", _path(rest), int(size))
    elif call in {"fsync", "fdatasync"}:
        yield Event("flush", _path(rest))
    elif call == "unlink":
        yield Event("unlink", _bytes(_QUOTED, rest).decode())


def _after(text: str) -> Iterator[Event]:
    call, rest = _parts(text)
    if call in {"fsync", "fdatasync"}:
        yield Event("flushed", _path(rest))
    elif call == "write":
        yield Event("append", _path(rest), 0, _bytes(_QUOTED, rest))
    elif call == "openat" and "O_CREAT" in rest:
        yield Event("create", _bytes(_QUOTED, rest).decode())


def _parts(text: str) -> tuple[str, str]:
    found = _CALL.match(text)
    return (found[1], found[2]) if found else ("", "")


def _path(rest: str) -> str:
    return _bytes(_FD, rest).decode(errors="replace")


def _bytes(pattern: re.Pattern[str], rest: str) -> bytes:
    found = pattern.search(rest)
    return bytes.fromhex(found[1].replace("\\x", "")) if found else b""


@dataclass(slots=True)
class _File:
    sure: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)
    being_flushed: int = 0


class Disk:
    """The files of one folder that are of interest, as they may be found after a power cut."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._folder = str(folder)
        self._names = {f"{folder}/{name}": name for name in names}
        self._live: dict[str, _File] = {}
        self._sure: dict[str, _File] = {}
        self._moves: list[tuple[str, _File | None]] = []

    def apply(self, event: Event) -> None:
        if event.path == self._folder and event.kind == "flushed":
            self._sure, self._moves = dict(self._live), []
        name = self._names.get(event.path)
        if name is None:
            return
        if event.kind == "create":
            if name not in self._live:
                self._live[name] = _File()
                self._moves.append((name, self._live[name]))
        elif event.kind == "unlink":
            del self._live[name]
            self._moves.append((name, None))
        elif name in self._live:
            _change(self._live[name], event)

    def after_power_loss(self, chance: random.Random) -> dict[str, bytes]:
        """One of the many things that may be on the disk now."""
        names = dict(self._sure)
        for name, file in self._moves[: chance.randint(0, len(self._moves))]:
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        return {name: _content(file, chance) for name, file in names.items()}


def _change(file: _File, event: Event) -> None:
    if event.kind in {"write", "truncate"}:
        file.pending.append(event)
    elif event.kind == "flush":
        file.being_flushed = len(file.pending)
    elif event.kind == "flushed":
        for done in file.pending[: file.being_flushed]:
            _perform(file.sure, done)
        del file.pending[: file.being_flushed]
        file.being_flushed = 0


def _perform(data: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        del data[event.offset :]
        data.extend(bytes(event.offset - len(data)))
        return
    data.extend(bytes(max(0, event.offset - len(data))))
    data[event.offset : event.offset + len(event.data)] = event.data


def _content(file: _File, chance: random.Random) -> bytes:
    data = bytearray(file.sure)
    pending = file.pending
    how = chance.choice(["all", "none", "first", "some", "torn", "torn"])
    if how in {"first", "torn"}:
        pending = pending[: chance.randint(0, len(pending))]
    elif how == "some":
        pending = [event for event in pending if chance.random() < 0.5]
    elif how == "none":
        pending = []
    for event in pending:
        last = how == "torn" and event is pending[-1] and event.kind == "write"
        for piece in _sectors(event, chance) if last else [event]:
            _perform(data, piece)
    return bytes(data)


def _sectors(event: Event, chance: random.Random) -> Iterator[Event]:
    """The part of a write that arrived: each sector whole, or not at all."""
    start, end = event.offset, event.offset + len(event.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if chance.random() < 0.5:
            piece = event.data[start - event.offset : stop - event.offset]
            yield Event("write", event.path, start, piece)
        start = stop
