"""Reading pickles without loading them: a small machine that knows plain data and no code.

A pickle is a program that may call anything. Here its opcodes (PEP 3154, ``pickletools``) are only
followed as far as they describe data: numbers, texts, lists, tuples, dictionaries. What names a
class or calls something becomes a value that says so (:class:`Named`, :class:`Made`); nothing is
imported, looked up or called. Work and memory are bounded by the length of the pickle and by
:data:`MOST_OPCODES`. The containers may hold themselves and each other many times over: who walks
through them has to count its steps.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    _Step: TypeAlias = Callable[["_Machine", Any], None]

LARGEST = 64 * 1024
"""Bytes of a pickle that is read; larger ones are not."""

MOST_OPCODES = 5_000


class Unreadable(Exception):
    """These bytes are no pickle, or one beyond what is followed here."""


class Named(NamedTuple):
    """A class or a function by its name, which means nothing here."""

    name: str


class Made(NamedTuple):
    """What calling ``name`` with these values would have made."""

    name: str
    values: tuple[object, ...]
    state: object = None


class _Mark:
    """Where a group of values begins on the stack."""


_MARK: Final = _Mark()
_UNKNOWN: Final = Named("?")


class _Machine:
    """The stack and the memory of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise Unreadable
        return value

    def group(self) -> list[Any]:
        """Everything above the last mark, which goes too."""
        stack = self.stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                found = stack[place + 1 :]
                del stack[place:]
                return found
        raise Unreadable

    def top(self, kind: type) -> Any:
        """The last value, if it is of this kind; else one of that kind that nobody sees."""
        value = self.stack[-1]
        if value is _MARK:
            raise Unreadable
        return value if isinstance(value, kind) else kind()


def read(raw: bytes) -> object:
    """The value a pickle describes.

    Raises:
        Unreadable: for anything that is none, and for one that is too long.
    """
    if len(raw) > LARGEST or not raw:
        raise Unreadable
    import pickletools

    machine = _Machine()
    try:
        for opcode, argument, _ in islice(pickletools.genops(raw), MOST_OPCODES):
            if opcode.name == "STOP":
                return machine.pop()
            _STEPS[opcode.name](machine, argument)
    # Whatever the bytes make the reader of opcodes trip over, they are no pickle for us.
    except Exception as error:
        raise Unreadable from error
    raise Unreadable


def moment_in(value: object) -> datetime | None:
    """The naive time a pickled ``datetime.datetime`` holds; its ten bytes are those of Python."""
    if not isinstance(value, Made) or value.name != "datetime.datetime" or not value.values:
        return None
    state = value.values[0]
    if not isinstance(state, bytes) or len(state) != 10:
        return None
    try:
        year, micros = int.from_bytes(state[:2], "big"), int.from_bytes(state[7:], "big")
        month, day, hour, minute, second = state[2] & 0x7F, *state[3:7]
        # Without a zone, as it was written.
        return datetime(year, month, day, hour, minute, second, micros)  # noqa: DTZ001
    except ValueError:
        return None


def _tuple_of(count: int) -> _Step:
    def step(machine: _Machine, _: Any) -> None:
        values = [machine.pop() for _ in range(count)]
        machine.push(tuple(reversed(values)))

    return step


def _append(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _extend(machine: _Machine, _: Any) -> None:
    values = machine.group()
    machine.top(list).extend(values)


def _set_items(machine: _Machine, _: Any) -> None:
    values = machine.group()
    _put(machine.top(dict), values)


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _put(machine.top(dict), [key, value])


def _put(into: dict[object, object], values: list[Any]) -> None:
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Only what cannot hold others is hashed: a key of nested tuples could take for ever.
        plain = key is None or isinstance(key, (str, bytes, int, float))
        into[key if plain else f"<{type(key).__name__}>"] = value


def _call(machine: _Machine, _: Any) -> None:
    """REDUCE and NEWOBJ: what is called lies below its values."""
    values, called = machine.pop(), machine.pop()
    machine.push(_made(called, values))


def _call_with_names(machine: _Machine, _: Any) -> None:
    names, values, called = machine.pop(), machine.pop(), machine.pop()
    machine.push(_made(called, values)._replace(state=names))


def _call_group(machine: _Machine, _: Any) -> None:
    values = machine.group()
    machine.push(_made(values[0], tuple(values[1:])))


def _made(called: object, values: object) -> Made:
    name = called.name if isinstance(called, (Named, Made)) else _UNKNOWN.name
    return Made(name, values if isinstance(values, tuple) else (values,))


def _set_state(machine: _Machine, _: Any) -> None:
    state, value = machine.pop(), machine.pop()
    machine.push(value._replace(state=state) if isinstance(value, Made) else value)


def _name(machine: _Machine, argument: Any) -> None:
    machine.push(Named(".".join(str(argument).split(" ", 1))))


def _name_from_stack(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push(Named(f"{module}.{name}" if isinstance(name, str) else _UNKNOWN.name))


def _put_memo(machine: _Machine, argument: Any) -> None:
    machine.memo[int(argument)] = machine.stack[-1]


def _memoize(machine: _Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _push(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _nothing(machine: _Machine, argument: Any) -> None:
    """Framing and versions say nothing about the data."""


_STEPS: Final[dict[str, _Step]] = {
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), _nothing),
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
            *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
            *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        ),
        _push,
    ),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    # A set is shown like a list: in the order in which it was written.
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.group()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.group())),
    "FROZENSET": lambda machine, _: machine.push(machine.group()),
    "DICT": lambda machine, _: _new_dict(machine),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    "APPENDS": _extend,
    "ADDITEMS": _extend,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "MARK": lambda machine, _: machine.push(_MARK),
    "POP": lambda machine, _: _drop(machine),
    "POP_MARK": lambda machine, _: _drop_group(machine),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put_memo),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"),
        lambda machine, argument: machine.push(machine.memo[int(argument)]),
    ),
    "MEMOIZE": _memoize,
    "GLOBAL": _name,
    "STACK_GLOBAL": _name_from_stack,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _call),
    "NEWOBJ_EX": _call_with_names,
    "OBJ": _call_group,
    "BUILD": _set_state,
}
"""All others (INST, persistent ids, extensions, buffers outside) end the reading."""


def _new_dict(machine: _Machine) -> None:
    made: dict[object, object] = {}
    _put(made, machine.group())
    machine.push(made)


def _drop(machine: _Machine) -> None:
    machine.stack.pop()


def _drop_group(machine: _Machine) -> None:
    machine.group()
