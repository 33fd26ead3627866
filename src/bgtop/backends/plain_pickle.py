"""Pickles of plain values, read without being loaded: nothing is imported, nothing is called.

A pickle is a program for a small machine. This one knows the steps that build numbers, texts,
lists, tuples and dicts (Python's ``pickletools`` describes them), and gives up at all others.
"""

from __future__ import annotations

import pickletools
from typing import Any, Final

LONGEST = 16 * 1024
"""Bytes of a pickle that is looked at."""
_DEEPEST = 20
_LARGEST = 2**64

_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES: Final = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
_EMPTY: Final = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
_MARK: Final = object()


class NotPlain(ValueError):
    """The pickle is broken, too large, or makes something else than plain values."""


def plain_value(pickled: bytes) -> Any:
    """What a pickle of plain values holds.

    Raises:
        NotPlain: it may hold anything else.
    """
    if len(pickled) > LONGEST:
        raise NotPlain("too large")
    machine = _Machine()
    try:
        for step, argument, _ in pickletools.genops(pickled):
            if step.name == "STOP":
                break
            machine.take(step.name, argument)
        (value,) = machine.stack
    except NotPlain:
        raise
    except Exception:  # noqa: BLE001  # whatever a broken pickle brings about
        raise NotPlain("broken") from None
    if value is _MARK or _depth(value) > _DEEPEST:
        raise NotPlain("too deep")
    return value


class _Machine:
    """The stack, and the values that were put aside to be used again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def take(self, step: str, argument: Any) -> None:
        """One step; raises :class:`NotPlain`, or anything for one that makes no sense here."""
        if step in _VALUES:
            self.stack.append(_number_or_text(argument))
        elif step in _CONSTANTS:
            self.stack.append(_CONSTANTS[step])
        elif step in _EMPTY:
            self.stack.append(_EMPTY[step]())
        elif step == "MARK":
            self.stack.append(_MARK)
        elif step == "MEMOIZE" or step in _PUTS:
            self._memo[len(self._memo) if argument is None else argument] = self.stack[-1]
        elif step in _GETS:
            self._again(self._memo[argument])
        elif step not in {"PROTO", "FRAME"}:
            self._put_together(step)

    def _put_together(self, step: str) -> None:
        stack = self.stack
        if step in _TUPLES:
            count = _TUPLES[step]
            stack[-count:] = [tuple(stack[-count:])]
        elif step == "APPEND":
            value = stack.pop()
            stack[-1].append(value)
        elif step == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif step in {"TUPLE", "LIST", "APPENDS", "SETITEMS"}:
            self._since_mark(step)
        else:
            raise NotPlain(step)

    def _since_mark(self, step: str) -> None:
        at = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        if step in {"TUPLE", "LIST"}:
            self.stack.append(tuple(items) if step == "TUPLE" else items)
        elif step == "APPENDS":
            self.stack[-1].extend(items)
        else:
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _again(self, value: Any) -> None:
        # A list inside itself, or twice as large at each step, is built of such; an empty one may
        # be filled later.
        if isinstance(value, (list, tuple, dict)) and value != ():
            raise NotPlain("a container that is used twice")
        self.stack.append(value)


def _number_or_text(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise NotPlain("a huge number")
    return value


def _depth(value: Any) -> int:
    """How deep containers are nested, as far as it matters."""
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += [*one.keys(), *one.values()]
            elif isinstance(one, (list, tuple)):
                below += one
        level = below
        depth += 1
    return depth
