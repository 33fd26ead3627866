"""Dataclasses that cost next to nothing to declare; type checkers see the standard library's.

The library writes and compiles six methods for each class when it is declared, and imports the
inspector of source code for it: more than half of what ``import bgworker`` took, in every program
that enqueues and in two processes of every worker. Here all classes share their methods, and only
``__init__`` is written for a class, when its first value is made.

What is left out is what no class of ours needs: inherited fields, order, ``InitVar``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn

__all__ = ["asdict", "dataclass", "field", "replace"]
_MISSING: Final = object()

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
else:

    def dataclass(*, slots, frozen=False, kw_only=False, eq=True):
        """As the library's; there are no values of ours without slots."""
        if not slots:
            raise TypeError("slots=True is missing")
        return lambda declared: _complete(declared, _Shape(declared, frozen, kw_only), eq)

    def field(*, default_factory):
        """A field whose default is made for each value."""
        return _Made(default_factory)

    def replace(value, /, **changes):
        """A copy with other values in these fields."""
        return type(value)(**{**_by_name(value), **changes})

    def asdict(value):
        """The fields by their names; values in them are taken apart too."""
        return {name: _plain(found) for name, found in _by_name(value).items()}


class _Made:
    def __init__(self, factory: Any) -> None:
        self.factory = factory


class _Shape:
    """What was declared of a class; ``parts`` of a value compare as all its fields would."""

    def __init__(self, declared: type, frozen: bool, kw_only: bool) -> None:
        self.types = declared.__annotations__
        self.names = tuple(self.types)
        self.defaults = {n: vars(declared)[n] for n in self.names if n in vars(declared)}
        self.frozen = frozen
        self.kw_only = kw_only
        self.parts: Any = attrgetter(*self.names) if self.names else lambda _: ()

    def write_init(self, made: type) -> Any:
        """The function ``__init__``, as fast as if it were written by hand."""
        names: dict[str, Any] = {"__set": object.__setattr__, "__missing": _MISSING}
        parameters = ["self", *(["*"] if self.kw_only and self.names else [])]
        lines = []
        for name in self.names:
            value, given = name, self.defaults.get(name, _MISSING)
            if given is not _MISSING:
                names[f"__of_{name}"] = given.factory if isinstance(given, _Made) else given
            if isinstance(given, _Made):
                value = f"__of_{name}() if {name} is __missing else {name}"
            default = "__missing" if isinstance(given, _Made) else f"__of_{name}"
            parameters.append(name if given is _MISSING else f"{name}={default}")
            lines.append(
                f"__set(self, {name!r}, {value})" if self.frozen else f"self.{name} = {value}"
            )
        lines += ["self.__post_init__()"] if hasattr(made, "__post_init__") else []
        exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"]), names)  # noqa: S102 - made of names of fields
        return names["__init__"]


class _LibraryFields:
    """For ``dataclasses.fields`` and all that asks it, made when somebody does."""

    def __get__(self, _: object, owner: Any) -> dict[str, Any]:
        import dataclasses

        shape, made = owner.__shape__, []
        for name, type_ in shape.types.items():
            given = shape.defaults.get(name, dataclasses.MISSING)
            if isinstance(given, _Made):
                rest: Any = dataclasses.field(default_factory=given.factory)
            else:
                rest = dataclasses.field(default=given)
            made.append((name, type_, rest))
        twin: Any = dataclasses.make_dataclass(owner.__name__, made, kw_only=shape.kw_only)
        return dict(twin.__dataclass_fields__)


def _complete(declared: type, shape: _Shape, eq: bool) -> type:
    """The class once more, with slots for its fields and the methods of a dataclass."""
    without = {*shape.names, "__dict__", "__weakref__"}
    body = {name: value for name, value in vars(declared).items() if name not in without}
    body |= {
        "__slots__": shape.names,
        "__match_args__": () if shape.kw_only else shape.names,
        "__dataclass_fields__": _LibraryFields(),
        "__shape__": shape,
        "__getstate__": _state,
        "__setstate__": _take_state,
        "__replace__": replace,
    }
    body.setdefault("__repr__", _repr)
    if eq:
        body.setdefault("__eq__", _eq)
        body.setdefault("__hash__", _hash if shape.frozen else None)
    if shape.frozen:
        body |= {"__setattr__": _refuse, "__delattr__": _refuse}

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        init = shape.write_init(made)
        init.__qualname__ = f"{made.__qualname__}.__init__"
        type.__setattr__(made, "__init__", init)
        init(self, *args, **kwargs)

    made: type = type(declared)(declared.__name__, declared.__bases__, {**body, "__init__": first})
    made.__qualname__ = declared.__qualname__
    return made


def _by_name(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__shape__.names}


def _plain(value: Any) -> Any:
    if hasattr(value, "__shape__"):
        return asdict(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in _by_name(self).items())
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    parts = self.__shape__.parts
    return parts(self) == parts(other)


def _hash(self: Any) -> int:
    return hash(self.__shape__.parts(self))


def _refuse(self: Any, name: str, *_: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change field {name!r} of {type(self).__qualname__}")


def _state(self: Any) -> list[Any]:
    return list(_by_name(self).values())


def _take_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__shape__.names, state, strict=True):
        object.__setattr__(self, name, value)
