"""Frozen values as JSON, and what differs between two of them, as their types say.

A value is the list of its fields, which are named once (:attr:`Coding.names`). So whoever reads
what an older or a newer bgtop wrote takes the fields both know, and nothing has to be described
twice. A difference holds only the fields that changed, of a tuple of rows only the rows.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from bgworker.values import names_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)

_WHOLE: Final = -1
"""Begins a difference that is a new value, because there was none before."""


class BadRecord(ValueError):
    """What was read is no record of this kind."""


def micros(moment: datetime) -> int:
    """Microseconds since 1970: exact, unlike a float."""
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def moment_of(micros_: int) -> datetime:
    """The moment of so many microseconds since 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=micros_)


class Coder:
    """How values of one type are written; this one is for those that JSON has itself."""

    def encode(self, value: Any) -> Any:
        """The value as JSON."""
        return value

    def decode(self, data: Any) -> Any:
        """The value of this JSON."""
        return data

    def differ(self, _old: Any, new: Any) -> Any:
        """What makes ``new`` of ``old``, which are not equal."""
        return self.encode(new)

    def patch(self, _old: Any, data: Any) -> Any:
        """``old`` with this difference."""
        return self.decode(data)


class _Moment(Coder):
    def encode(self, value: datetime) -> int:
        return micros(value)

    def decode(self, data: int) -> datetime:
        return moment_of(data)


class _Enum(Coder):
    def __init__(self, kind: type[Enum]) -> None:
        self._values = {member.value: member for member in kind}

    def encode(self, value: Enum) -> Any:
        return value.value

    def decode(self, data: Any) -> Enum:
        if data not in self._values:
            raise BadRecord(f"unknown word {data!r}")
        return self._values[data]


class _Optional(Coder):
    def __init__(self, inner: Coder) -> None:
        self._inner = inner

    def encode(self, value: Any) -> Any:
        return None if value is None else self._inner.encode(value)

    def decode(self, data: Any) -> Any:
        return None if data is None else self._inner.decode(data)

    def differ(self, old: Any, new: Any) -> Any:
        if new is None:
            return None
        return [_WHOLE, self._inner.encode(new)] if old is None else self._inner.differ(old, new)

    def patch(self, old: Any, data: Any) -> Any:
        if data is None:
            return None
        return self._inner.decode(data[1]) if old is None else self._inner.patch(old, data)


class _Several(Coder):
    """Tuples and sets; what a newer bgtop put into a set is left out."""

    def __init__(self, kind: Callable[[Sequence[Any]], Any], inner: Coder) -> None:
        self._kind, self._inner = kind, inner

    def encode(self, value: Any) -> Any:
        data = [self._inner.encode(part) for part in value]
        return sorted(data) if isinstance(value, frozenset) else data

    def decode(self, data: Any) -> Any:
        if self._kind is not frozenset:
            return self._kind([self._inner.decode(part) for part in data])
        return frozenset(_known(self._inner, data))


def _known(inner: Coder, data: Sequence[Any]) -> Iterator[Any]:
    for part in data:
        try:
            yield inner.decode(part)
        except BadRecord:
            continue


class _Mapping(Coder):
    """Keys and values by turns: JSON has no keys but texts."""

    def __init__(self, key: Coder, value: Coder) -> None:
        self._key, self._value = key, value

    def encode(self, value: Mapping[Any, Any]) -> Any:
        return [
            part
            for key, one in value.items()
            for part in (self._key.encode(key), self._value.encode(one))
        ]

    def decode(self, data: Any) -> Any:
        pairs = zip(data[::2], data[1::2], strict=True)
        return {self._key.decode(key): self._value.decode(one) for key, one in pairs}


class _Value(Coder):
    """A frozen dataclass with slots; ``recorded`` are its fields where it was written.

    Values are made and copied through their slots: recordings hold thousands, and this takes a
    third of the time.
    """

    def __init__(
        self, kind: type[Any], recorded: Sequence[str], coders: Mapping[str, Coder]
    ) -> None:
        self._kind = kind
        own = list(names_of(kind))
        self._get = attrgetter(*own, own[0])  # of one name it would give no tuple
        self._set = [getattr(kind, name).__set__ for name in own]
        self._coders = [coders[name] for name in own]
        self._recorded = [own.index(name) if name in own else None for name in recorded]
        self._as_recorded = list(recorded) == own
        self._names = own
        self.key = own[0]

    def encode(self, value: Any) -> Any:
        return [
            coder.encode(part) for coder, part in zip(self._coders, self._get(value), strict=False)
        ]

    def decode(self, data: Any) -> Any:
        if self._as_recorded and len(data) == len(self._coders):
            made = object.__new__(self._kind)
            for set_, coder, part in zip(self._set, self._coders, data, strict=True):
                set_(made, coder.decode(part))
            return made
        known = {
            self._names[place]: self._coders[place].decode(part)
            for place, part in zip(self._recorded, data, strict=True)
            if place is not None
        }
        try:
            return self._kind(**known)
        except TypeError as fault:
            raise BadRecord(str(fault)) from None

    def differ(self, old: Any, new: Any) -> Any:
        found: list[Any] = []
        pairs = zip(self._get(old), self._get(new), self._coders, strict=False)
        for place, (before, after, coder) in enumerate(pairs):
            if before is not after and before != after:
                found += (place, coder.differ(before, after))
        return found

    def patch(self, old: Any, data: Any) -> Any:
        parts = list(self._get(old))
        for at in range(0, len(data), 2):
            place = self._recorded[data[at]]
            if place is not None:
                parts[place] = self._coders[place].patch(parts[place], data[at + 1])
        made = object.__new__(self._kind)
        for set_, part in zip(self._set, parts, strict=False):
            set_(made, part)
        return made


class _Rows(Coder):
    """A tuple of values with names: a difference is where rows came from, and what changed."""

    def __init__(self, inner: _Value) -> None:
        self._inner = inner

    def encode(self, value: Any) -> Any:
        return [self._inner.encode(row) for row in value]

    def decode(self, data: Any) -> Any:
        return tuple([self._inner.decode(row) for row in data])

    def differ(self, old: Any, new: Any) -> Any:
        key = self._inner.key
        names = [getattr(row, key) for row in new]
        before = [getattr(row, key) for row in old]
        origins: Sequence[int] = range(len(new)) if names == before else _origins(before, names)
        changes: list[Any] = []
        for place, (origin, row) in enumerate(zip(origins, new, strict=True)):
            if origin >= 0 and old[origin] is not row and old[origin] != row:
                changes += (place, self._inner.differ(old[origin], row))
        if names == before:
            return [None, changes]
        return [[*self._script(origins, new)], changes]

    def _script(self, origins: Sequence[int], new: Any) -> Iterator[Any]:
        """Runs of rows that were there, as (first, count), and between them rows that are new."""
        run: list[int] = []
        for origin, row in zip(origins, new, strict=True):
            if run and origin >= 0 and origin == run[0] + run[1]:
                run[1] += 1
                continue
            if run:
                yield run
            run = [origin, 1] if origin >= 0 else []
            if origin < 0:
                yield [self._inner.encode(row)]
        if run:
            yield run

    def patch(self, old: Any, data: Any) -> Any:
        script, changes = data
        rows = list(old) if script is None else []
        for step in script or ():
            if len(step) == 1:
                rows.append(self._inner.decode(step[0]))
            else:
                rows += old[step[0] : step[0] + step[1]]
        for place, part in zip(changes[::2], changes[1::2], strict=True):
            rows[place] = self._inner.patch(rows[place], part)
        return tuple(rows)


def _origins(before: Sequence[Any], names: Sequence[Any]) -> list[int]:
    """Where each row was before, -1 for a new one; those of one name in their order."""
    places: dict[Any, list[int]] = {}
    for place in range(len(before) - 1, -1, -1):
        places.setdefault(before[place], []).append(place)
    return [places[name].pop() if places.get(name) else -1 for name in names]


class Coding:
    """The coders of all types that are reached from one; ``recorded`` names their fields.

    Without names these are the fields of today, as they are written.
    """

    def __init__(self, words: Mapping[str, Any], recorded: Mapping[str, Any] | None = None) -> None:
        """``words`` are types that annotations name and their modules load for checkers only."""
        self._words = dict(words)
        self._recorded = recorded
        self._coders: dict[Any, Coder] = {}
        self.names: dict[str, list[str]] = {}
        """The fields of each type met so far, in the order they are written in."""

    def of(self, kind: Any) -> Coder:
        """The coder of a type, made once."""
        if kind not in self._coders:
            self._coders[kind] = self._made(kind)
        return self._coders[kind]

    def _made(self, kind: Any) -> Coder:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin in {typing.Union, types.UnionType}:
            coders = [self.of(part) for part in inner if part is not types.NoneType]
            return _Optional(coders[0]) if type(coders[0]) is not Coder else coders[0]
        if origin is not None:
            return self._container(origin, inner)
        if kind is datetime:
            return _Moment()
        if isinstance(kind, type) and issubclass(kind, Enum):
            return _Enum(kind)
        return self._value(kind) if is_dataclass(kind) else Coder()

    def _container(self, origin: Any, inner: tuple[Any, ...]) -> Coder:
        if origin is frozenset:
            return _Several(frozenset, self.of(inner[0]))
        if origin is not tuple:
            return _Mapping(self.of(inner[0]), self.of(inner[1]))
        # A tuple of several types is one of texts and numbers.
        part = self.of(inner[0]) if inner[-1] is Ellipsis else Coder()
        return _Rows(part) if isinstance(part, _Value) else _Several(tuple, part)

    def _value(self, kind: Any) -> _Value:
        hints = typing.get_type_hints(kind, localns=self._words)
        own = list(names_of(kind))
        self.names[kind.__name__] = own
        recorded = own if self._recorded is None else self._recorded.get(kind.__name__, own)
        return _Value(kind, recorded, {name: self.of(hints[name]) for name in own})
